using System.Buffers.Binary;
using System.Globalization;
using System.Reflection;
using System.Security.Cryptography;

namespace DispLlm.Training;

/// <summary>
/// What a run's outcome follows from, as names and values in text: model, calibration text and settings. A state is taken up only by a run of which all of it is
/// the same.
/// </summary>
internal static class RunIdentity
{
    public static IReadOnlyDictionary<string, string> Describe(SelectionRequest request, HypernetworkSelection strategy, int[] tokens)
    {
        var identity = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["model.spec"] = Hash(System.Text.Encoding.UTF8.GetBytes(request.Model.Spec.ToString())),
            ["model.weights"] = WeightsFingerprint.Compute(request.Model),
            ["model.compute_type"] = request.Model.Backend.ComputeType.ToString(),
            ["text.tokens"] = tokens.Length.ToString(CultureInfo.InvariantCulture),
            ["text.ids"] = HashTokens(tokens),
            ["budget"] = request.Budget.ToString(),
            ["norm_order"] = request.NormOrder.ToString(),
            ["width_multiple"] = request.WidthMultiple.ToString(CultureInfo.InvariantCulture),
            ["seed"] = request.Seed.ToString(CultureInfo.InvariantCulture),
        };
        Add(identity, "settings", strategy);
        return identity;
    }

    /// <summary>What can be set of a strategy, by its properties' names.</summary>
    public static IReadOnlyDictionary<string, string> DescribeSettings(ISelectionStrategy strategy)
    {
        const string Root = "strategy";
        var identity = new Dictionary<string, string>(StringComparer.Ordinal);
        Add(identity, Root, strategy);
        return identity.Where(entry => entry.Key is not (Root or $"{Root}.{nameof(strategy.Name)}" or $"{Root}.{nameof(strategy.NeedsCalibration)}"))
            .ToDictionary(entry => entry.Key[(Root.Length + 1)..], entry => entry.Value, StringComparer.Ordinal);
    }

    /// <summary>What differs, in words; empty where nothing does.</summary>
    public static IReadOnlyList<string> Differences(IReadOnlyDictionary<string, string> mine, IReadOnlyDictionary<string, string> stored) =>
    [
        .. mine.Where(entry => stored.GetValueOrDefault(entry.Key) != entry.Value)
            .Select(entry => $"{entry.Key} is {entry.Value} here and {stored.GetValueOrDefault(entry.Key) ?? "unknown"} there"),
    ];

    private static void Add(Dictionary<string, string> identity, string name, object settings)
    {
        // A strategy to start from is an interface: its own settings count, so it is written by what it is.
        var kind = settings.GetType();
        identity[name] = kind.Name;
        foreach (var property in kind.GetProperties(BindingFlags.Public | BindingFlags.Instance)
            .Where(property => property.CanRead && property.GetIndexParameters().Length == 0 && !IsNoPartOfIt(property)))
        {
            identity[$"{name}.{property.Name}"] = property.GetValue(settings) switch
            {
                null => "none",
                IFormattable value => value.ToString(null, CultureInfo.InvariantCulture),
                var value => value.ToString() ?? string.Empty,
            };
        }

        if (settings is HypernetworkSelection { InitialScores: { } start })
        {
            Add(identity, $"{name}.{nameof(HypernetworkSelection.InitialScores)}", start);
        }
    }

    /// <summary>A strategy to start from is added by its own settings; what is kept in memory changes no number.</summary>
    private static bool IsNoPartOfIt(PropertyInfo property) =>
        property.Name == nameof(HypernetworkSelection.InitialScores) || property.PropertyType == typeof(ActivationCheckpointing);

    private static string HashTokens(int[] tokens)
    {
        byte[] bytes = new byte[tokens.Length * sizeof(int)];
        for (int i = 0; i < tokens.Length; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(i * sizeof(int)), tokens[i]);
        }

        return Hash(bytes);
    }

    private static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes))[..16];
}
