using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>The pruning budget.</summary>
internal sealed class BudgetOptions
{
    private const double DefaultRatio = 0.2;

    private readonly Option<double> _ratio = new("--ratio", "-r")
    {
        Description = "Pruning ratio: the fraction of the weights to remove, above 0 and below 1",
        HelpName = "fraction",
        DefaultValueFactory = _ => DefaultRatio,
    };

    private readonly Option<double?> _keep = new("--keep", "-k")
    {
        Description = "Keep fraction, instead of --ratio. Default: 1 - ratio",
        HelpName = "fraction",
    };

    private readonly ChoiceOption<ParameterScope> _scope = new(
        "--scope",
        "The parameters that are counted: block-weights (projections of the blocks), block-weights-and-biases, or whole-model (with "
            + "embeddings and head)",
        ("block-weights", ParameterScope.BlockWeights),
        ("block-weights-and-biases", ParameterScope.BlockWeightsAndBiases),
        ("whole-model", ParameterScope.WholeModel));

    public void AddTo(Command command)
    {
        command.Options.Add(_ratio);
        command.Options.Add(_keep);
        command.Options.Add(_scope);
        _ratio.AcceptFraction(value => FindProblem(() => PruningBudget.FromRatio(value)));
        _keep.AcceptFraction(value => FindProblem(() => PruningBudget.FromKeepFraction(value)));
        command.Validators.Add(result =>
        {
            if (result.IsSpecified(_ratio) && result.IsSpecified(_keep))
            {
                result.AddError("'--ratio' and '--keep' cannot be combined.");
            }
        });
    }

    public PruningBudget Read(ParseResult arguments)
    {
        var budget = arguments.GetValue(_keep) is { } keep
            ? PruningBudget.FromKeepFraction(keep)
            : PruningBudget.FromRatio(arguments.GetRequiredValue(_ratio));
        return budget with { Scope = _scope.Read(arguments) };
    }

    private static string? FindProblem(Func<PruningBudget> create)
    {
        try
        {
            return create() is { Kind: BudgetKind.Ratio, Value: 0 } or { Kind: BudgetKind.KeepFraction, Value: 1 }
                ? "it removes nothing."
                : null;
        }
        catch (BudgetException e)
        {
            return e.Message;
        }
    }
}
