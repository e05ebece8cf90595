using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>What is decided, and how: everything that <c>prune</c> and <c>plan</c> share.</summary>
internal sealed class LearningOptions
{
    /// <summary>What the published tables were measured with; longer windows cost memory and time.</summary>
    private const int DefaultWindow = 512;

    private readonly BudgetOptions _budget = new();
    private readonly TextOptions _text = new("to learn on");

    private readonly Choice<ISelectionStrategy> _strategy = new(
        "--strategy",
        "How it is decided what stays: hypernetwork, paper and released learn (the last two as published); fisher, first-order and activation measure on text; magnitude looks at weights; random draws",
        Strategies.All);

    private readonly Option<int?> _steps = new Option<int?>("--steps")
    {
        Description = $"Learning steps. Default: the strategy's own, {new HypernetworkSelection().Steps} for hypernetwork",
        HelpName = "n",
    }.AtLeast(1);

    private readonly Option<int?> _window = new Option<int?>("--window")
    {
        Description = $"Tokens that the model sees at once. Default: {DefaultWindow}, or what the model was made for where that is less",
        HelpName = "tokens",
    }.AtLeast(2);

    private readonly Option<long> _seed = new("--seed")
    {
        Description = "Seed of every random number: the same seed gives the same plan",
        HelpName = "n",
        DefaultValueFactory = _ => 0,
    };

    private readonly Option<int> _widthMultiple = new Option<int>("--width-multiple")
    {
        Description = "Make every width a multiple of this; hardware likes 8 to 128",
        HelpName = "n",
        DefaultValueFactory = _ => 1,
    }.AtLeast(1);

    private readonly Choice<NormOrder> _normOrder = new(
        "--norm-order",
        "What comes first where a block reads: norm-then-select or select-then-norm",
        ("norm-then-select", NormOrder.NormThenSelect),
        ("select-then-norm", NormOrder.SelectThenNorm));

    private readonly Option<string?> _run = new("--run")
    {
        Description = "Folder that keeps the run's state and log, so that a run that was stopped goes on. Default: beside the output, until the result is written",
        HelpName = "folder",
    };

    public BackendOptions Backend { get; } = new();

    public void AddTo(Command command)
    {
        _budget.AddTo(command);
        _text.AddTo(command);
        foreach (var option in (Option[])[_strategy, _steps, _window, _seed, _widthMultiple, _normOrder, _run])
        {
            command.Options.Add(option);
        }

        Backend.AddTo(command);
        command.Validators.Add(result =>
        {
            if (_strategy.Peek(result) is not { } strategy || strategy.Learns())
            {
                return;
            }

            foreach (var option in (Option[])[_steps, _run])
            {
                if (result.Given(option))
                {
                    result.AddError($"'{option.Name}' is for strategies that learn; '{result.GetValue(_strategy)}' does not.");
                }
            }
        });
    }

    /// <summary>Refuses weights to be compensated where what is dropped cannot be told from what is kept.</summary>
    public void RefuseCompensation(Command command, Option<bool> compensate) => command.Validators.Add(result =>
    {
        if (result.GetValue(compensate) && _normOrder.Peek(result) == NormOrder.SelectThenNorm)
        {
            result.AddError("'--compensate' needs '--norm-order norm-then-select': behind a selection, what was dropped cannot be told from what is kept.");
        }
    });

    public LearningSettings Read(ParseResult arguments) => new()
    {
        Budget = _budget.Read(arguments),
        Strategy = _strategy.Read(arguments),
        Steps = arguments.GetValue(_steps),
        Window = arguments.GetValue(_window),
        Seed = arguments.GetValue(_seed),
        WidthMultiple = arguments.GetRequiredValue(_widthMultiple),
        NormOrder = _normOrder.Read(arguments),
        Run = arguments.GetValue(_run),
        ReadTextAsync = (terminal, model, cancellation) => _text.ReadAsync(arguments, terminal, model, arguments.GetValue(_seed), cancellation),
    };

    /// <summary>The window for a model: what was asked for, if the model has as many positions.</summary>
    public static int WindowFor(int? asked, IPrunableModel model) => asked is { } window
        ? window <= model.Spec.MaxPositions
            ? window
            : throw new ToolException($"--window {window} is more than the {model.Spec.MaxPositions} positions that {model.Folder} was made for.")
        : Math.Min(DefaultWindow, model.Spec.MaxPositions);
}

/// <summary>The same as values.</summary>
internal sealed record LearningSettings
{
    public required PruningBudget Budget { get; init; }

    public required ISelectionStrategy Strategy { get; init; }

    public required int? Steps { get; init; }

    public required int? Window { get; init; }

    public required long Seed { get; init; }

    public required int WidthMultiple { get; init; }

    public required NormOrder NormOrder { get; init; }

    /// <summary>The run's folder where one was named.</summary>
    public required string? Run { get; init; }

    public required Func<Terminal, IPrunableModel, CancellationToken, Task<TokenCorpus>> ReadTextAsync { get; init; }
}
