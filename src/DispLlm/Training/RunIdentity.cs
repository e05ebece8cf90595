using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;

namespace DispLlm.Training;

/// <summary>
/// What a run's outcome follows from, as names and values: model, calibration text, request and settings. A state is resumed only by a run
/// of which all of it is equal.
/// </summary>
internal static class RunIdentity
{
    public static IReadOnlyDictionary<string, string> Describe(SelectionRequest request, ISelectionStrategy strategy, int[] tokens)
    {
        var model = request.Model;
        var identity = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            // The scalings again as objects: a property of an abstract type is written without what its subtype adds.
            ["model.spec"] = Hash(JsonSerializer.SerializeToUtf8Bytes(new { model.Spec, Scalings = Scalings(model.Spec) })),
            ["model.weights"] = WeightsFingerprint.Compute(model),
            ["model.compute_type"] = model.Backend.ComputeType.ToString(),
            ["text.tokens"] = tokens.Length.ToString(CultureInfo.InvariantCulture),
            ["text.ids"] = HashTokens(tokens),
            ["budget"] = request.Budget.ToString(),
            ["norm_order"] = request.NormOrder.ToString(),
            ["width_multiple"] = request.WidthMultiple.ToString(CultureInfo.InvariantCulture),
            ["seed"] = request.Seed.ToString(CultureInfo.InvariantCulture),
            ["strategy"] = strategy.Name,
        };
        if (!request.Constraints.IsEmpty)
        {
            identity["constraints"] = request.Constraints.ToString();
        }

        foreach (var (name, value) in strategy.Settings)
        {
            identity["settings." + name] = value;
        }

        return identity;
    }

    /// <summary>What differs, in words; empty where nothing does.</summary>
    public static IReadOnlyList<string> Differences(IReadOnlyDictionary<string, string> mine, IReadOnlyDictionary<string, string> stored) =>
    [
        .. mine.Keys.Union(stored.Keys).Where(key => stored.GetValueOrDefault(key) != mine.GetValueOrDefault(key))
            .Select(key =>
                $"{key} is {mine.GetValueOrDefault(key) ?? "not set"} here and {stored.GetValueOrDefault(key) ?? "not set"} there"),
    ];

    private static object?[] Scalings(DecoderSpec spec) =>
        [.. Enumerable.Range(0, spec.NumLayers).Select(spec.GetAttention).Distinct().Select(attention => attention.Rotary?.Scaling)];

    private static string HashTokens(int[] tokens) => Hash(MemoryMarshal.AsBytes<int>(tokens));

    private static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes))[..16];
}
