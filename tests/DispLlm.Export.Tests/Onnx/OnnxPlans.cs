using DispLlm.Training;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>Plans of random scores for tiny models, in every layout and order that a model has.</summary>
internal static class OnnxPlans
{
    /// <summary>Layouts and orders, with free masks over all six sites where the layout is <see cref="PruningLayout.All"/>.</summary>
    public static IEnumerable<SelectionPlan> Create(PrunableModel model)
    {
        bool hasInputNorms = model.Spec.NormPlacement is NormPlacement.PreNorm or NormPlacement.PreAndOutputNorm;
        NormOrder[] orders = hasInputNorms ? [NormOrder.NormThenSelect, NormOrder.SelectThenNorm] : [NormOrder.NormThenSelect];
        foreach (var order in orders)
        {
            yield return Half(model, PruningLayout.Paper, order);
            yield return WithoutAttention(model, order, block: order == NormOrder.NormThenSelect ? 0 : 1);
        }

        if (model.Spec.NumKeyValueHeads > 1)
        {
            // Half of one group is none, in every block.
            yield return Half(model, PruningLayout.Blocks, NormOrder.NormThenSelect);
        }

        yield return Half(model, PruningLayout.Stream, NormOrder.SelectThenNorm);
        yield return Half(model, PruningLayout.Stock, NormOrder.SelectThenNorm);
    }

    /// <summary>A plan of random scores that keeps half, or loses half of what the layout can remove.</summary>
    public static SelectionPlan Half(PrunableModel model, PruningLayout layout, NormOrder order)
    {
        var options = new BudgetProjectionOptions { Layout = layout, NormOrder = order, Family = model.Family.Name };
        var budget = PruningBudget.FromRatio(0.5);
        try
        {
            BudgetProjection.EnsureReachable(model.Spec, budget, options);
        }
        catch (BudgetException error)
        {
            budget = PruningBudget.FromParameters(
                (new ParameterCounter(model.Spec).Dense.BlockWeights + error.SmallestReachable!.Value) / 2);
        }

        var random = new Random(5);
        float[] scores = [.. Enumerable.Range(0, model.GateLayout.Count).Select(_ => random.NextSingle())];
        return BudgetProjection.Project(model.Spec, new SelectionScores(model.GateLayout, scores), budget, options);
    }

    /// <summary>Random masks over all six sites: one block has no attention, the others lack their first of several groups.</summary>
    private static SelectionPlan WithoutAttention(PrunableModel model, NormOrder order, int block)
    {
        using var scope = NewDisposeScope();
        var random = new Random(block);
        float[] gates = [.. Enumerable.Range(0, model.GateLayout.Count).Select(_ => random.NextSingle() < 0.6f ? 1f : 0)];
        foreach (var site in model.GateLayout.Sites)
        {
            var own = gates.AsSpan(site.Offset, site.Size);
            if (site.Site != SelectionSite.AttentionGroups)
            {
                own[random.Next(site.Size)] = 1;
                continue;
            }

            own.Fill(site.Block == block ? 0 : 1);
            own[0] = own.Length == 1 ? own[0] : 0;
        }

        return TestPlans.FromGates(model, tensor(gates), order);
    }
}
