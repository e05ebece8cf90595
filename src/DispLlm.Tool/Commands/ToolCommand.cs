using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>
/// The base of all commands: common options, signals and exit codes.
/// </summary>
internal abstract class ToolCommand : Command
{
    private readonly Option<bool> _json = new("--json")
    {
        Description = "Write the result as one JSON object to the standard output; everything else goes to the standard error",
    };
    private readonly Option<bool> _quiet = new("--quiet", "-q") { Description = "Write only the result, warnings and errors" };
    private readonly Option<bool> _verbose =
        new("--verbose", "-v") { Description = "Write the log of the library, and stack traces of errors" };

    protected ToolCommand(string name, string description, params IReadOnlyList<string> examples)
        : base(name, description)
    {
        Examples = examples;
        Validators.Add(result =>
        {
            if (result.GetValue(_quiet) && result.GetValue(_verbose))
            {
                result.AddError("'--quiet' and '--verbose' cannot be combined.");
            }
        });
        SetAction(InvokeAsync);
    }

    /// <summary>--json, for commands that have another form beside it.</summary>
    protected Option<bool> Json => _json;

    /// <summary>Examples for the help.</summary>
    public IReadOnlyList<string> Examples { get; }

    /// <summary>Adds the options that all commands have, after its own.</summary>
    protected void AddCommonOptions()
    {
        Options.Add(_json);
        Options.Add(_quiet);
        Options.Add(_verbose);
    }

    /// <summary>Runs the command.</summary>
    /// <exception cref="OperationCanceledException">The command was interrupted.</exception>
    protected abstract Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellationToken);

    /// <summary>The message after a signal.</summary>
    protected virtual string AfterInterruption(ParseResult arguments) => "Stopped. Nothing was saved.";

    /// <summary>What a command has computed and kept, and is of use in spite of an error; null for nothing.</summary>
    protected virtual KeptWork? GetKeptWork(ParseResult arguments, Exception? error) => null;

    /// <summary>Reads a folder without its weights: what is wrong with it is found at once.</summary>
    protected static PrunableModel Describe(string folder) => PrunableModel.Load(folder, TorchBackend.Meta());

    /// <summary>The same for a model that is to be pruned.</summary>
    protected static PrunableModel DescribeDense(string folder)
    {
        var model = Describe(folder);
        if (model.Plan is null)
        {
            return model;
        }

        model.Dispose();
        throw new ModelAlreadyPrunedException(folder);
    }

    /// <summary>Loads a model and shows the progress.</summary>
    protected static Task<PrunableModel> LoadAsync(
        string folder, ITensorBackend backend, Terminal terminal, CancellationToken cancellationToken) =>
        terminal.ShowAsync(
            $"Loading {folder}", _ => PrunableModel.Load(folder, backend, new LoadOptions { Logger = terminal.Logger }, cancellationToken));

    private async Task<int> InvokeAsync(ParseResult arguments, CancellationToken cancellationToken)
    {
        var verbosity = arguments.GetValue(_quiet) ? Verbosity.Quiet : arguments.GetValue(_verbose) ? Verbosity.Verbose : Verbosity.Normal;
        var terminal = new Terminal(
            verbosity, arguments.GetValue(_json), arguments.InvocationConfiguration.Output, arguments.InvocationConfiguration.Error);
        using var signals = new SignalHandler(() => terminal.Note("Stopping at the next step. A second signal stops at once."));
        try
        {
            await RunAsync(arguments, terminal, signals.Token);
            return ExitCode.Success;
        }
        catch (OperationCanceledException) when (signals.Token.IsCancellationRequested)
        {
            terminal.Warn(AfterInterruption(arguments));
            return signals.Code;
        }
#pragma warning disable CA1031 // Every error becomes an exit code.
        catch (Exception e)
#pragma warning restore CA1031
        {
            var failure = Failure.FromException(e) with { Kept = GetKeptWork(arguments, e) };
            terminal.Fail(failure);
            if (failure.IsExpected && verbosity == Verbosity.Verbose)
            {
                terminal.Note(e.ToString());
            }

            return failure.Code;
        }
    }
}
