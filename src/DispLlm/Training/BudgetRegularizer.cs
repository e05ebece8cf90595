using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// The budget loss: <c>R(T(s), target) = log(max(T, target) / min(T, target))</c>, with the parameter count <c>T(s)</c> differentiable in
/// the gates (DISP-LLM, Eq. 6; docs/method.md, Objective and Parameter accounting). Immutable and thread-safe.
/// </summary>
public sealed class BudgetRegularizer
{
    private readonly GateLayout _layout;
    private readonly CountTerm[] _terms;
    private readonly double _rest;
    private readonly double _costOfStream;

    /// <summary>Creates the regularizer of a budget on a model.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="budget">What may be kept.</param>
    public BudgetRegularizer(DecoderSpec spec, PruningBudget budget)
        : this(spec, budget, PruningLayout.Paper, NormOrder.NormThenSelect)
    {
    }

    /// <summary>Creates the regularizer of a budget on a model that is pruned in a layout.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="budget">What may be kept.</param>
    /// <param name="layout">The layout: with one stream, embedding, head and norms are cut with it.</param>
    /// <param name="order">The order of norm and selection: norms that select first are cut with what they norm.</param>
    public BudgetRegularizer(DecoderSpec spec, PruningBudget budget, PruningLayout layout, NormOrder order = NormOrder.NormThenSelect)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(budget);
        _layout = new GateLayout(spec);
        var counter = new ParameterCounter(ModelShape.FromSpec(spec), order, layout);
        Target = budget.TargetFor(counter);
        Dense = counter.Dense[budget.Scope];
        _terms =
        [
            .. counter.Terms.Where(
                term => (term.Rows ?? term.Columns) is not null && term.Scope <= budget.Scope),
        ];

        _costOfStream = counter.StreamCost(layout, budget.Scope);

        // What no gate can free: whatever the scope counts beyond the weights and the biases of gated rows.
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        _rest = Dense - Gated(ones(_layout.Count)).ReadDouble();
    }

    /// <summary>The most parameters that may be kept, in the budget's scope.</summary>
    public long Target { get; }

    /// <summary>The dense model's parameters in the budget's scope.</summary>
    public long Dense { get; }

    /// <summary>T(s): the parameters that gates keep, in the budget's scope.</summary>
    /// <param name="gates"><c>[gates]</c> in the order of <see cref="GateLayout"/>.</param>
    /// <returns>A scalar in float64 (a float32 sum would round a 7B model's count), differentiable in the gates.</returns>
    public Tensor KeptParameters(Tensor gates)
    {
        ArgumentNullException.ThrowIfNull(gates);
        return Gated(gates).AddScalar(_rest);
    }

    /// <summary>R: 0 where the gates keep just the target, symmetric above and below it.</summary>
    /// <param name="kept">What <see cref="KeptParameters"/> returned.</param>
    /// <param name="fraction">How far from the dense model towards the target the budget is: 1 is the target.</param>
    /// <returns>A scalar in float64, differentiable in <paramref name="kept"/>.</returns>
    public Tensor Loss(Tensor kept, double fraction = 1)
    {
        ArgumentNullException.ThrowIfNull(kept);
        return kept.DivScalar(Dense - fraction * (Dense - Target)).log().abs();
    }

    /// <summary>The terms of T(s) that depend on gates, in float64: <c>factor * |rows| * |columns|</c>, summed over blocks.</summary>
    private Tensor Gated(Tensor gates)
    {
        Tensor blocks = gates.view(_layout.Sites[^1].Block + 1, -1);
        var open = SiteMap.Create(site => blocks.narrow(1, _layout[0, site].Offset, _layout[0, site].Size).sum(1).to(ScalarType.Float64));
        Tensor? total = null;
        foreach (var term in _terms)
        {
            Tensor kept = term switch
            {
                { Rows: { } rows, Columns: { } columns } => open[columns] * open[rows],
                _ => open[(term.Rows ?? term.Columns)!.Value],
            };
            Tensor count = kept.MulScalar(term.Factor);
            total = total?.Add(count) ?? count;
        }

        return _costOfStream == 0 ? total!.sum()
            : total!.sum().Add(open[SelectionSite.AttentionInput][0].MulScalar(_costOfStream));
    }
}
