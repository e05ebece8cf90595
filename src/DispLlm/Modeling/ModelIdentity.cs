using System.Security.Cryptography;
using System.Text.Json;

namespace DispLlm.Modeling;

/// <summary>What the outcome of any work with a model follows from, as names and values.</summary>
internal static class ModelIdentity
{
    public static Dictionary<string, string> Describe(IPrunableModel model) => new(StringComparer.Ordinal)
    {
        // The scaling again as an object: a property of an abstract type is written without what its subtype adds.
        ["model.spec"] = Hash(JsonSerializer.SerializeToUtf8Bytes(new { model.Spec, Scaling = (object?)model.Spec.Rotary?.Scaling })),
        ["model.weights"] = WeightsFingerprint.Compute(model),
        ["model.compute_type"] = model.Backend.ComputeType.ToString(),
    };

    /// <summary>Sixteen hexadecimal digits of the SHA-256.</summary>
    public static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes))[..16];
}
