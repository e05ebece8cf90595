using System.CommandLine;
using System.CommandLine.Parsing;

namespace DispLlm.Tool;

/// <summary>How much is to go.</summary>
internal sealed class BudgetOptions
{
    private const double DefaultRatio = 0.2;

    private readonly Option<double> _ratio = new("--ratio", "-r")
    {
        Description = "Share of the weights that goes, from 0 to below 1",
        HelpName = "share",
        DefaultValueFactory = _ => DefaultRatio,
    };

    private readonly Option<double?> _keep = new("--keep", "-k")
    {
        Description = "Share that stays, instead of --ratio. Default: what --ratio leaves",
        HelpName = "share",
    };

    private readonly Choice<ParameterScope> _scope = new(
        "--scope",
        "What the share is of: block-weights (of the blocks' projections), block-weights-and-biases, or whole-model (embeddings and head too)",
        ("block-weights", ParameterScope.BlockWeights),
        ("block-weights-and-biases", ParameterScope.BlockWeightsAndBiases),
        ("whole-model", ParameterScope.WholeModel));

    public void AddTo(Command command)
    {
        command.Options.Add(_ratio);
        command.Options.Add(_keep);
        command.Options.Add(_scope);
        _ratio.Validators.Add(result => Check(result, () => PruningBudget.FromRatio(result.GetValueOrDefault<double>())));
        _keep.Validators.Add(result => Check(result, () => PruningBudget.FromKeepFraction(result.GetValueOrDefault<double?>() ?? 1)));
        command.Validators.Add(result =>
        {
            if (result.Given(_ratio) && result.Given(_keep))
            {
                result.AddError("'--ratio' and '--keep' say the same in two ways: give one of them.");
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

    private static void Check(OptionResult result, Action make)
    {
        if (result.Tokens.Count != 1)
        {
            return;
        }

        try
        {
            make();
        }
        catch (BudgetException e)
        {
            result.AddError(e.Message);
        }
    }
}
