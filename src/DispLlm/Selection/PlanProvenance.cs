namespace DispLlm.Modeling;

/// <summary>Where a plan came from. For people and reports: nothing is computed from it.</summary>
public sealed record PlanProvenance
{
    /// <summary>Nothing is known.</summary>
    public static PlanProvenance Unknown { get; } = new();

    /// <summary>The strategy that selected, by name; null if unknown.</summary>
    public string? Strategy { get; init; }

    /// <summary>The run's seed; null if unknown or if nothing was drawn.</summary>
    public long? Seed { get; init; }

    /// <summary>The budget that was asked for; null if none was.</summary>
    public PruningBudget? Budget { get; init; }

    /// <summary>The multiple that widths were held to; null if unknown. An edited plan need not honour it.</summary>
    public int? WidthMultiple { get; init; }

    /// <summary>Anything else worth keeping; null if nothing.</summary>
    public string? Notes { get; init; }
}
