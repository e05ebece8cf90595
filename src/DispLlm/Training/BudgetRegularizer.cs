using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// The budget loss: <c>R(T(s), target) = log(max(T, target) / min(T, target))</c>, with the parameter count <c>T(s)</c> differentiable in
/// the gates (DISP-LLM, Eq. 6; docs/method.md, Objective and Parameter accounting). Immutable and thread-safe.
/// </summary>
internal sealed class BudgetRegularizer
{
    private readonly DecoderSpec _spec;
    private readonly ParameterScope _scope;
    private readonly double _rest;

    /// <summary>Creates the regularizer of a budget on a model.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="budget">What may be kept.</param>
    public BudgetRegularizer(DecoderSpec spec, PruningBudget budget)
    {
        _spec = spec;
        _scope = budget.Scope;
        var counter = new ParameterCounter(spec);
        Target = budget.TargetFor(counter);
        Dense = counter.Dense[_scope];

        // What no gate can free: whatever the scope counts beyond the weights and the biases of gated rows.
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        _rest = Dense - Gated(ones(new GateLayout(spec).Count)).ReadDouble();
    }

    /// <summary>The most parameters that may be kept, in the budget's scope.</summary>
    public long Target { get; }

    /// <summary>The dense model's parameters in the budget's scope.</summary>
    public long Dense { get; }

    /// <summary>T(s): the parameters that gates keep, in the budget's scope.</summary>
    /// <param name="gates"><c>[gates]</c> in the order of <see cref="GateLayout"/>.</param>
    /// <returns>A scalar in float64 (a float32 sum would round a 7B model's count), differentiable in the gates.</returns>
    public Tensor KeptParameters(Tensor gates) => Gated(gates).AddScalar(_rest);

    /// <summary>R: 0 where the gates keep just the target, symmetric above and below it.</summary>
    /// <param name="kept">What <see cref="KeptParameters"/> returned.</param>
    /// <param name="fraction">How far from the dense model towards the target the budget is: 1 is the target.</param>
    public Tensor Loss(Tensor kept, double fraction = 1) => kept.DivScalar(Dense - fraction * (Dense - Target)).log().abs();

    private Tensor Gated(Tensor gates)
    {
        long d = _spec.HiddenSize, mlp = _spec.IntermediateSize;
        Tensor blocks = gates.view(_spec.NumLayers, 4 * d + mlp);
        Tensor Open(long first, long size) => blocks.narrow(1, first, size).sum(1).to(ScalarType.Float64);
        Tensor n1 = Open(0, d), n2 = Open(d, d), n3 = Open(2 * d, d), n4 = Open(3 * d, mlp), n5 = Open(3 * d + mlp, d);

        double inProjections = _spec.GatedMlp ? 2 : 1;
        Tensor attention = n1.MulScalar(_spec.QuerySize + 2 * _spec.KeyValueSize).Add(n2.MulScalar(_spec.QuerySize));
        Tensor mlpWeights = (n3 * n4).MulScalar(inProjections).Add(n4 * n5);
        Tensor total = attention.Add(mlpWeights).sum();
        if (_scope != ParameterScope.BlockWeights)
        {
            total = _spec.AttentionOutputBias ? total.Add(n2.sum()) : total;
            total = _spec.MlpBias ? total.Add(n4.MulScalar(inProjections).Add(n5).sum()) : total;
        }

        return total;
    }
}
