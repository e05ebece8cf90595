using System.Security.Cryptography;

namespace DispLlm.Modeling;

/// <summary>A short hash of a model's weights. Thread-safe.</summary>
internal static class WeightsFingerprint
{
    /// <summary>Sixteen hexadecimal digits of the SHA-256 of all weights. It takes less time than one learning step.</summary>
    public static string Compute(IPrunableModel model)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var part in ParameterCatalog.Parameters(model.Spec).Where(part => !part.IsBias))
        {
            using var scope = TorchSharp.torch.NewDisposeScope();
            TensorBytes.Visit(model.Weight(part.Role, part.Block).cpu(), (bytes, _) => hash.AppendData(bytes));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
    }
}
