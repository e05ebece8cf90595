using System.Text.Json.Nodes;

namespace DispLlm.Tool;

/// <summary>An error as an exit code and a message.</summary>
internal sealed record Failure(int Code, string Kind, string Message, bool IsExpected)
{
    /// <summary>What is kept, and the command line that finishes; null where nothing was computed.</summary>
    public KeptWork? Kept { get; init; }

    public static Failure FromException(Exception error) => error switch
    {
        BudgetException => Expected(ExitCode.BudgetUnreachable, error),
        NumericalException => Expected(ExitCode.NumericalError, error),
        DispLlmException or IOException or UnauthorizedAccessException => Expected(ExitCode.BadInput, error),
        _ => new Failure(
            ExitCode.Unexpected,
            error.GetType().Name,
            $"Unexpected error. Please report it with the command line:{Environment.NewLine}{error}",
            IsExpected: false),
    };

    public JsonObject ToJson()
    {
        var error = new JsonObject { ["kind"] = Kind, ["message"] = Message, ["exit_code"] = Code };
        if (Kept is not null)
        {
            error["kept"] = Kept.Description;
            error["finish"] = Kept.Command;
        }

        return new JsonObject { ["error"] = error };
    }

    private static Failure Expected(int code, Exception error) => new(code, error.GetType().Name, error.Message, IsExpected: true);
}
