using System.CommandLine;
using System.Globalization;

namespace DispLlm.Tool;

/// <summary>The options of a selection, shared by <c>prune</c> and <c>plan</c>.</summary>
internal sealed class SelectionOptions
{
    private const int DefaultSequenceLength = 512;

    private readonly BudgetOptions _budget = new();
    private readonly ChoiceOption<ISelectionStrategy> _strategy = new(
        "--strategy",
        "How features are selected: hypernetwork, paper and reference train (the last two as published); fisher, first-order and "
            + "activation measure on text; "
        + "magnitude uses the weights alone; random is a baseline",
        StrategyNames.All);

    private readonly Option<int?> _steps = new Option<int?>("--steps")
    {
        Description = $"Training steps. Default: that of the strategy, {new HypernetworkSelection().Steps} for hypernetwork",
        HelpName = "n",
    }.AtLeast(1);

    private readonly Option<int?> _sequenceLength = new Option<int?>("--sequence-length")
    {
        Description = $"Tokens per calibration sequence. Default: {DefaultSequenceLength}, or the positions of the model if that is less",
        HelpName = "tokens",
    }.AtLeast(2);

    private readonly Option<long> _seed = new("--seed")
    {
        Description = "Seed of all random numbers; equal seeds give equal plans",
        HelpName = "n",
        DefaultValueFactory = _ => 0,
    };

    private readonly Option<int> _widthMultiple = new Option<int>("--width-multiple")
    {
        Description = "Make every width a multiple of this number; 8 to 128 suit most hardware",
        HelpName = "n",
        DefaultValueFactory = _ => 1,
    }.AtLeast(1);

    private readonly ChoiceOption<PruningLayout> _layout = new(
        "--layout",
        "What may be cut: paper (the five sites of the paper), blocks (MLP widths and key-value groups: nothing but narrower "
            + "matrices), all (both), mlp (MLP widths alone), stream (one selection of the residual stream for the whole model, and MLP "
            + "widths), stock (one stream and one MLP width: an ordinary model with smaller sizes)",
        ("paper", PruningLayout.Paper),
        ("blocks", PruningLayout.Blocks),
        ("all", PruningLayout.All),
        ("mlp", PruningLayout.Mlp),
        ("stream", PruningLayout.Stream),
        ("stock", PruningLayout.Stock));

    private readonly Option<int> _minGroups = new Option<int>("--min-attention-groups")
    {
        Description = "Key-value groups that every block keeps, for runtimes that cannot read a block without attention",
        HelpName = "n",
        DefaultValueFactory = _ => 0,
    }.AtLeast(0);

    private readonly ChoiceOption<NormOrder> _normOrder = new(
        "--norm-order",
        "Order of norm and selection at the input of a block: norm-then-select or select-then-norm",
        ("norm-then-select", NormOrder.NormThenSelect),
        ("select-then-norm", NormOrder.SelectThenNorm));

    private readonly Option<string?> _run = new("--run")
    {
        Description = "Folder for what the run has done, from which a stopped run resumes. Default: next to the output, until the result "
            + "is written",
        HelpName = "folder",
    };

    public BackendOptions Backend { get; } = new();

    public TextOptions Text { get; } = new("to calibrate on");

    public void AddTo(Command command)
    {
        _budget.AddTo(command);
        Text.AddTo(command);
        foreach (var option in (Option[])[_strategy, _steps, _sequenceLength, _seed, _widthMultiple, _layout, _minGroups, _normOrder, _run])
        {
            command.Options.Add(option);
        }

        Backend.AddTo(command);
        command.Validators.Add(result =>
        {
            if (result.IsSpecified(_steps) && _strategy.ReadOrDefault(result)?.Learns() == false)
            {
                result.AddError($"'{_steps.Name}' is for strategies that train; '{result.GetValue(_strategy)}' does not.");
            }
        });
    }

    /// <summary>Rejects reconstruction for a norm order that does not support it.</summary>
    public void ValidateReconstruction(Command command, Option<bool> reconstruct) => command.Validators.Add(result =>
    {
        if (result.GetValue(reconstruct) && _normOrder.ReadOrDefault(result) == NormOrder.SelectThenNorm)
        {
            result.AddError("'--reconstruct' needs '--norm-order norm-then-select'.");
        }

        if (result.GetValue(reconstruct) && _layout.ReadOrDefault(result) is { } layout && layout.HasOneStream())
        {
            result.AddError("'--reconstruct' needs a layout in which every block selects by itself: paper, blocks, all or mlp.");
        }
    });

    public SelectionSettings Read(ParseResult arguments) => new()
    {
        Budget = _budget.Read(arguments),
        Strategy = _strategy.Read(arguments),
        Steps = arguments.GetValue(_steps),
        SequenceLength = arguments.GetValue(_sequenceLength),
        Seed = arguments.GetValue(_seed),
        WidthMultiple = arguments.GetRequiredValue(_widthMultiple),
        Layout = _layout.Read(arguments),
        MinAttentionGroups = arguments.GetRequiredValue(_minGroups),
        NormOrder = _normOrder.Read(arguments),
        Run = arguments.GetValue(_run),
    };

    /// <summary>All that a selection from one model follows from, in words.</summary>
    public IEnumerable<string> DescribeSettings(ParseResult arguments, ISelectionStrategy strategy)
    {
        var settings = Read(arguments);
        return
        [
            string.Create(
                CultureInfo.InvariantCulture,
                $"{settings.Budget}, width multiple {settings.WidthMultiple}, {settings.NormOrder}, layout {settings.Layout}, at least "
                    + $"{settings.MinAttentionGroups} groups"),
            FormattableString.Invariant($"strategy {strategy.Name}, seed {settings.Seed}"),
            .. strategy.Settings.Select(setting => $"{setting.Key} {setting.Value}"),
            .. Text.DescribeSettings(arguments),
        ];
    }

    /// <summary>The sequence length for a model: the requested one, if the model has a context that long.</summary>
    public static int GetSequenceLength(int? requested, IPrunableModel model) => requested is { } length
        ? length <= model.Spec.MaxPositions
            ? length
            : throw new ToolException($"--sequence-length {length} exceeds the {model.Spec.MaxPositions} positions of {model.Folder}.")
        : Math.Min(DefaultSequenceLength, model.Spec.MaxPositions);
}

/// <summary>The values of <see cref="SelectionOptions"/>.</summary>
internal sealed record SelectionSettings
{
    public required PruningBudget Budget { get; init; }

    public required ISelectionStrategy Strategy { get; init; }

    public required int? Steps { get; init; }

    public required int? SequenceLength { get; init; }

    public required long Seed { get; init; }

    public required int WidthMultiple { get; init; }

    public required PruningLayout Layout { get; init; }

    public required int MinAttentionGroups { get; init; }

    public required NormOrder NormOrder { get; init; }

    /// <summary>The folder of the run; null if none is given.</summary>
    public required string? Run { get; init; }
}
