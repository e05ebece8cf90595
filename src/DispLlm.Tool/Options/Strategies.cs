namespace DispLlm.Tool;

/// <summary>The strategies by the names that the command line gives them.</summary>
internal static class Strategies
{
    public static (string Name, ISelectionStrategy Strategy)[] All { get; } =
    [
        ("hypernetwork", new HypernetworkSelection()),
        ("paper", HypernetworkSelection.Paper),
        ("released", HypernetworkSelection.ReferenceImplementation),
        ("fisher", new FisherSelection()),
        ("first-order", new FirstOrderSelection()),
        ("activation", new ActivationMagnitudeSelection()),
        ("magnitude", new MagnitudeSelection()),
        ("random", new RandomSelection()),
    ];

    /// <summary>Whether the strategy learns, step by step, and has a run to save.</summary>
    public static bool Learns(this ISelectionStrategy strategy) => strategy is HypernetworkSelection;

    /// <summary>The strategy with another number of steps and another window, where it has such.</summary>
    public static ISelectionStrategy With(this ISelectionStrategy strategy, int? steps, int window) => strategy switch
    {
        HypernetworkSelection learned => learned with { Steps = steps ?? learned.Steps, SequenceLength = window },
        FisherSelection fisher => fisher with { SequenceLength = window },
        FirstOrderSelection firstOrder => firstOrder with { SequenceLength = window },
        ActivationMagnitudeSelection activation => activation with { SequenceLength = window },
        _ => strategy,
    };
}
