using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm.Benchmarks;

/// <summary>
/// The model's half of a learning step with libtorch's operators and autograd: every gate multiplies, and no closed feature is skipped. It
/// is the baseline of this library's kernels.
/// </summary>
internal sealed class EagerStep(PrunableModel model, int length) : IDisposable
{
    private readonly Tensor[] _rotary = RotaryTables(model, length);

    /// <summary>The gradient of the loss by the gates, <c>[gates]</c>, float32. The caller disposes it.</summary>
    public Tensor Gradient(Tensor gates, Tensor tokens)
    {
        using var scope = NewDisposeScope();
        using var gradient = enable_grad();
        Tensor open = gates.detach().clone().requires_grad_();
        Tensor narrow = open.to(model.Backend.ComputeType);
        Tensor stream = model.Weight(WeightRole.TokenEmbedding).index(tokens.narrow(1, 0, length).to(model.Backend.Device));
        for (int block = 0; block < model.Spec.NumLayers; block++)
        {
            Tensor Gate(SelectionSite site, Tensor features)
            {
                var (offset, size) = (model.GateLayout[block, site].Offset, model.GateLayout[block, site].Size);
                return features * narrow.narrow(0, offset, size);
            }

            Tensor Linear(WeightRole role, Tensor features) => functional.linear(features, model.Weight(role, block));

            Tensor entered = Gate(
                SelectionSite.AttentionInput, Norm(stream, model.Weight(WeightRole.AttentionNorm, block), model.Spec.NormEpsilon));
            Tensor query = Rotate(Heads(Linear(WeightRole.Query, entered), model.Spec.NumAttentionHeads)),
                key = Rotate(Heads(Linear(WeightRole.Key, entered), model.Spec.NumKeyValueHeads));
            Tensor value = Heads(Linear(WeightRole.Value, entered), model.Spec.NumKeyValueHeads);
            long shared = model.Spec.NumAttentionHeads / model.Spec.NumKeyValueHeads;
            Tensor mixed = functional.scaled_dot_product_attention(
                query, key.repeat_interleave(shared, dim: 1), value.repeat_interleave(shared, dim: 1), is_casual: true).transpose(1,
                    2).flatten(2);
            stream = stream + Gate(SelectionSite.AttentionOutput, Linear(WeightRole.AttentionOutput, mixed));
            entered = Gate(SelectionSite.MlpInput, Norm(stream, model.Weight(WeightRole.MlpNorm, block), model.Spec.NormEpsilon));
            Tensor hidden = functional.silu(Linear(WeightRole.MlpGate, entered)) * Linear(WeightRole.MlpUp, entered);
            stream = stream + Gate(SelectionSite.MlpOutput, Linear(WeightRole.MlpDown, Gate(SelectionSite.MlpHidden, hidden)));
        }

        Tensor logits = functional.linear(
            Norm(stream, model.Weight(WeightRole.FinalNorm), model.Spec.NormEpsilon),
            model.Weight(model.Spec.TieWordEmbeddings ? WeightRole.TokenEmbedding : WeightRole.Head));
        functional.cross_entropy(
            logits.view(-1, logits.shape[^1]).to(ScalarType.Float32),
            tokens.narrow(1, 1, length).reshape(-1).to(model.Backend.Device)).backward();
        return open.grad!.clone().MoveToOuterDisposeScope();
    }

    public void Dispose() => Array.ForEach(_rotary, tensor => tensor.Dispose());

    /// <summary>The RMS norm of <c>[..., d]</c>, operator by operator.</summary>
    public static Tensor Norm(Tensor x, Tensor weight, double epsilon)
    {
        Tensor wide = x.to(ScalarType.Float32);
        return (wide * (wide.pow(2).mean([-1L], keepdim: true) + epsilon).rsqrt()).to(x.dtype) * weight;
    }

    private static Tensor Heads(Tensor x, int heads) => x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2);

    private Tensor Rotate(Tensor x)
    {
        Tensor[] halves = x.chunk(2, -1);
        return (x * _rotary[0]) + (cat([halves[1].neg(), halves[0]], -1) * _rotary[1]);
    }

    private static Tensor[] RotaryTables(PrunableModel model, int length)
    {
        using var scope = NewDisposeScope();
        long half = model.Spec.HeadDim / 2;
        Tensor wavelengths = pow(model.Spec.Rotary!.Theta, arange(half, ScalarType.Float32) / -half);
        Tensor angles = outer(arange(length, ScalarType.Float32), wavelengths).repeat(1, 2);
        return [.. new[] { angles.cos(), angles.sin() }.Select(
            table => table.to(model.Backend.ComputeType).to(model.Backend.Device, copy: true).DetachFromDisposeScope())];
    }
}
