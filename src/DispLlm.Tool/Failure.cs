using System.Text.Json.Nodes;

namespace DispLlm.Tool;

/// <summary>What an error comes to for who called: an exit code, and a message that says what to do.</summary>
internal sealed record Failure(int Code, string Kind, string Message, bool IsExpected)
{
    public static Failure FromException(Exception error) => error switch
    {
        BudgetException => Expected(ExitCode.BudgetOutOfReach, error),
        NumericalException => Expected(ExitCode.NumericalTrouble, error),
        DispLlmException or IOException or UnauthorizedAccessException => Expected(ExitCode.BadInput, error),
        _ => new Failure(
            ExitCode.Unexpected,
            error.GetType().Name,
            $"The tool failed in a way that nobody foresaw. Please report this with what you ran:{Environment.NewLine}{error}",
            IsExpected: false),
    };

    public JsonObject ToJson() => new()
    {
        ["error"] = new JsonObject { ["kind"] = Kind, ["message"] = Message, ["exit_code"] = Code },
    };

    private static Failure Expected(int code, Exception error) => new(code, error.GetType().Name, error.Message, IsExpected: true);
}
