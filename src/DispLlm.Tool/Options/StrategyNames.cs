namespace DispLlm.Tool;

/// <summary>The strategies by their names on the command line.</summary>
internal static class StrategyNames
{
    public static (string Name, ISelectionStrategy Strategy)[] All { get; } =
    [
        ("hypernetwork", new HypernetworkSelection()),
        ("paper", HypernetworkSelection.Paper),
        ("reference", HypernetworkSelection.ReferenceImplementation),
        ("fisher", new FisherSelection()),
        ("first-order", new FirstOrderSelection()),
        ("activation", new ActivationMagnitudeSelection()),
        ("magnitude", new MagnitudeSelection()),
        ("random", new RandomSelection()),
    ];

    /// <summary>Whether the strategy trains step by step, and can resume a run.</summary>
    public static bool Learns(this ISelectionStrategy strategy) => strategy is HypernetworkSelection;

    /// <summary>The strategy with a number of steps and a sequence length, where it has them.</summary>
    public static ISelectionStrategy WithLengths(this ISelectionStrategy strategy, int? steps, int sequenceLength) => strategy switch
    {
        HypernetworkSelection learned => learned with { Steps = steps ?? learned.Steps, SequenceLength = sequenceLength },
        FisherSelection fisher => fisher with { SequenceLength = sequenceLength },
        FirstOrderSelection firstOrder => firstOrder with { SequenceLength = sequenceLength },
        ActivationMagnitudeSelection activation => activation with { SequenceLength = sequenceLength },
        _ => strategy,
    };
}
