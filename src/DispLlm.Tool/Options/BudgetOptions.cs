using System.CommandLine;
using System.CommandLine.Parsing;

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
        _ratio.Validators.Add(result => Validate(result, () => PruningBudget.FromRatio(result.GetValueOrDefault<double>())));
        _keep.Validators.Add(result => Validate(result, () => PruningBudget.FromKeepFraction(result.GetValueOrDefault<double?>() ?? 1)));
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

    private static void Validate(OptionResult result, Func<PruningBudget> create)
    {
        if (result.Tokens.Count != 1)
        {
            return;
        }

        try
        {
            if (create() is { Kind: BudgetKind.Ratio, Value: 0 } or { Kind: BudgetKind.KeepFraction, Value: 1 })
            {
                result.AddError($"'{result.Option.Name} {result.Tokens[0].Value}' removes nothing.");
            }
        }
        catch (BudgetException e)
        {
            result.AddError(e.Message);
        }
    }
}
