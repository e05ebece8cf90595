using System.Security.Cryptography;

namespace DispLlm.Modeling;

/// <summary>A short text that two models share only where their weights are the same, byte for byte.</summary>
internal static class WeightsFingerprint
{
    /// <summary>Every byte of the weights. It takes less time than one step of learning.</summary>
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
