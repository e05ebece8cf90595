using System.Security.Cryptography;
using System.Text.Json;

namespace DispLlm.Modeling;

/// <summary>What the outcome of any work with a model follows from, as names and values.</summary>
internal static class ModelIdentity
{
    public static Dictionary<string, string> Describe(IPrunableModel model) => new(StringComparer.Ordinal)
    {
        // The scalings again as objects: a property of an abstract type is written without what its subtype adds.
        ["model.spec"] = Hash(JsonSerializer.SerializeToUtf8Bytes(new { model.Spec, Scalings = Scalings(model.Spec) })),
        ["model.weights"] = WeightsFingerprint.Compute(model),
        ["model.compute_type"] = model.Backend.ComputeType.ToString(),
    };

    /// <summary>Sixteen hexadecimal digits of the SHA-256.</summary>
    public static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes))[..16];

    private static object?[] Scalings(DecoderSpec spec) =>
        [.. Enumerable.Range(0, spec.NumLayers).Select(spec.GetAttention).Distinct().Select(attention => attention.Rotary?.Scaling)];
}
