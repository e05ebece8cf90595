using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>
/// A verb of the command: its options, and its work between the signals that may interrupt it and the exit code that comes of it.
/// </summary>
internal abstract class Verb : Command
{
    private readonly Option<bool> _json = new("--json") { Description = "Give the result as one JSON object on the standard output; all else goes to the standard error" };
    private readonly Option<bool> _quiet = new("--quiet", "-q") { Description = "Say nothing but the result, warnings and errors" };
    private readonly Option<bool> _verbose = new("--verbose", "-v") { Description = "Say what the library logs, and where an error came from" };

    protected Verb(string name, string description, params IReadOnlyList<string> examples)
        : base(name, description)
    {
        Examples = examples;
        Validators.Add(result =>
        {
            if (result.GetValue(_quiet) && result.GetValue(_verbose))
            {
                result.AddError("'--quiet' and '--verbose' contradict each other.");
            }
        });
        SetAction(InvokeAsync);
    }

    /// <summary>Command lines that show what the verb is for.</summary>
    public IReadOnlyList<string> Examples { get; }

    /// <summary>Adds the options that every verb has, behind its own.</summary>
    protected void AddCommonOptions()
    {
        Options.Add(_json);
        Options.Add(_quiet);
        Options.Add(_verbose);
    }

    /// <summary>Does the work.</summary>
    /// <exception cref="OperationCanceledException">It was interrupted.</exception>
    protected abstract Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellation);

    /// <summary>What there is to say once the work was interrupted.</summary>
    protected virtual string AfterInterruption(ParseResult arguments) => "Stopped. Nothing was left behind.";

    /// <summary>Loads a model and shows it.</summary>
    protected static Task<PrunableModel> LoadAsync(string folder, ITensorBackend backend, Terminal terminal, CancellationToken cancellation) =>
        terminal.ShowAsync($"Loading {folder}", _ => PrunableModel.Load(folder, backend, new LoadOptions { Logger = terminal.Logger }, cancellation));

    /// <summary>Loads a model that is to be pruned.</summary>
    protected static async Task<PrunableModel> LoadDenseAsync(string folder, ITensorBackend backend, Terminal terminal, CancellationToken cancellation)
    {
        var model = await LoadAsync(folder, backend, terminal, cancellation);
        if (model.Plan is null)
        {
            return model;
        }

        model.Dispose();
        throw new ModelAlreadyPrunedException(folder);
    }

    private async Task<int> InvokeAsync(ParseResult arguments, CancellationToken cancellation)
    {
        var verbosity = arguments.GetValue(_quiet) ? Verbosity.Quiet : arguments.GetValue(_verbose) ? Verbosity.Verbose : Verbosity.Normal;
        var terminal = new Terminal(verbosity, arguments.GetValue(_json));
        using var interruption = new Interruption(() => terminal.Note("Stopping at the next step. Once more stops at once."));
        try
        {
            await RunAsync(arguments, terminal, interruption.Token);
            return ExitCode.Done;
        }
        catch (OperationCanceledException) when (interruption.Token.IsCancellationRequested)
        {
            terminal.Warn(AfterInterruption(arguments));
            return interruption.Code;
        }
#pragma warning disable CA1031 // Here every error becomes an exit code.
        catch (Exception e)
#pragma warning restore CA1031
        {
            var failure = Failure.FromException(e);
            terminal.Fail(failure);
            if (failure.IsExpected && verbosity == Verbosity.Verbose)
            {
                terminal.Note(e.ToString());
            }

            return failure.Code;
        }
    }
}
