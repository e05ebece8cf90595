namespace DispLlm.Tool;

/// <summary>What the tool's exit codes mean. They are part of its interface: scripts go by them.</summary>
internal static class ExitCode
{
    public const int Done = 0;
    public const int BadInput = 1;
    public const int Usage = 2;
    public const int BudgetOutOfReach = 3;
    public const int NumericalTrouble = 4;
    public const int Unexpected = 70;
    public const int Interrupted = 130;
    public const int Terminated = 143;

    /// <summary>The same for people, as the help prints it.</summary>
    public static IReadOnlyList<(int Code, string Meaning)> Meanings { get; } =
    [
        (Done, "done"),
        (BadInput, "a model, text, plan, run or file is not as it has to be"),
        (Usage, "the command line cannot be read"),
        (BudgetOutOfReach, "no selection of this model is that small"),
        (NumericalTrouble, "a NaN or an infinity turned up while learning"),
        (Unexpected, "an error of the tool's own: please report it"),
        (Interrupted, "interrupted (Ctrl-C, SIGINT); a run that learns is saved"),
        (Terminated, "terminated (SIGTERM); a run that learns is saved"),
    ];
}
