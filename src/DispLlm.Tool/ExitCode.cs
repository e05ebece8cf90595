namespace DispLlm.Tool;

/// <summary>The exit codes of the tool. Scripts depend on them.</summary>
internal static class ExitCode
{
    public const int Success = 0;
    public const int BadInput = 1;
    public const int Usage = 2;
    public const int BudgetUnreachable = 3;
    public const int NumericalError = 4;
    public const int Unexpected = 70;
    public const int HungUp = 129;
    public const int Interrupted = 130;
    public const int Terminated = 143;

    /// <summary>Their meanings, for the help.</summary>
    public static IReadOnlyList<(int Code, string Meaning)> Meanings { get; } =
    [
        (Success, "success"),
        (BadInput, "a model, text, plan, run or file is not valid"),
        (Usage, "the command line is not valid"),
        (BudgetUnreachable, "the budget is out of reach for this model"),
        (NumericalError, "a NaN or infinity occurred during training"),
        (Unexpected, "an unexpected error: please report it"),
        (HungUp, "the terminal was closed (SIGHUP); the run is saved"),
        (Interrupted, "interrupted (Ctrl-C, SIGINT); the run is saved"),
        (Terminated, "terminated (SIGTERM); the run is saved"),
    ];
}
