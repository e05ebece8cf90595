using System.Globalization;
using System.Runtime.InteropServices;

namespace DispLlm.Training;

/// <summary>
/// What a run's outcome follows from, as names and values: model, calibration text, request and settings. A state is resumed only by a run
/// of which all of it is equal.
/// </summary>
internal static class RunIdentity
{
    public static IReadOnlyDictionary<string, string> Describe(SelectionRequest request, ISelectionStrategy strategy, int[] tokens)
    {
        var identity = new Dictionary<string, string>(
            request.ModelIdentity ?? ModelIdentity.Describe(request.Model), StringComparer.Ordinal)
        {
            ["text.tokens"] = tokens.Length.ToString(CultureInfo.InvariantCulture),
            ["text.ids"] = ModelIdentity.Hash(MemoryMarshal.AsBytes<int>(tokens)),
            ["budget"] = request.Budget.ToString(),
            ["layout"] = request.Layout.ToString(),
            ["norm_order"] = request.Order.ToString(),
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
}
