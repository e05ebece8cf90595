using DispLlm.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>Random plans of every layout.</summary>
internal static class GgufPlans
{
    /// <summary>A plan of a name: a layout; or <c>blocks-0</c> and <c>blocks-1</c>, with no attention in that block.</summary>
    public static SelectionPlan Create(PrunableModel model, string name) => name switch
    {
        "paper" => Random(model, PruningLayout.Paper, null),
        "all" => Random(model, PruningLayout.All, null),
        "blocks" => Random(model, PruningLayout.Blocks, null),
        "blocks-0" => Random(model, PruningLayout.Blocks, 0),
        "blocks-1" => Random(model, PruningLayout.Blocks, 1),
        "mlp" => Random(model, PruningLayout.Mlp, null),
        "stream" => Project(model, PruningLayout.Stream),
        "stock" => Project(model, PruningLayout.Stock),
        _ => throw new ArgumentOutOfRangeException(nameof(name), name, "No such plan."),
    };

    private static SelectionPlan Random(PrunableModel model, PruningLayout layout, int? withoutAttention)
    {
        using var scope = NewDisposeScope();
        using var random = new RandomSource(3).Stream("masks");
        Tensor gates = (random.Uniform(model.GateLayout.Count) < 0.6).to(ScalarType.Float32);
        foreach (var site in model.GateLayout.Sites)
        {
            Tensor own = gates.narrow(0, site.Offset, site.Size);
            if (!layout.Selects(site.Site))
            {
                own.fill_(1);
            }
            else if (site.Site == SelectionSite.AttentionGroups)
            {
                own.fill_(site.Block == withoutAttention ? 0 : 1);
                own.narrow(0, 0, 1).fill_(site.Block == withoutAttention || (site.Size > 1 && site.Block % 2 == 0) ? 0 : 1);
            }
        }

        var plan = TestPlans.FromGates(model, gates, NormOrder.NormThenSelect);
        return new SelectionPlan(plan.Model, plan.Blocks, layout) { Family = plan.Family, NormOrder = NormOrder.NormThenSelect };
    }

    private static SelectionPlan Project(PrunableModel model, PruningLayout layout)
    {
        using var scope = NewDisposeScope();
        using var random = new RandomSource(3).Stream("scores");
        var options = new BudgetProjectionOptions { Layout = layout, NormOrder = NormOrder.SelectThenNorm, Family = model.Family.Name };
        var scores = new SelectionScores(model.GateLayout, random.Normal(model.GateLayout.Count).data<float>().ToArray());
        return BudgetProjection.Project(model.Spec, scores, PruningBudget.FromRatio(0.4), options);
    }
}
