namespace DispLlm.Modeling;

/// <summary>Where a plan came from, for people and reports: nothing is computed from it. Immutable and safe from several threads.</summary>
public sealed record PlanProvenance
{
    /// <summary>Nothing is known.</summary>
    public static PlanProvenance Unknown { get; } = new();

    /// <summary>The strategy that selected, by name; null if unknown.</summary>
    public string? Strategy { get; init; }

    /// <summary>The run's seed; null if unknown or if nothing was random.</summary>
    public long? Seed { get; init; }

    /// <summary>The budget that was asked for; null if none was.</summary>
    public PruningBudget? Budget { get; init; }

    /// <summary>The multiple that widths were rounded to, in indices; null if unknown. An edited plan need not keep to it.</summary>
    public int? WidthMultiple { get; init; }

    /// <summary>Anything else worth keeping; null if nothing.</summary>
    public string? Notes { get; init; }
}
