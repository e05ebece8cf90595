using CsCheck;
using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>
/// The row kernels of a device equal libtorch's operators and their gradients in float32 on the CPU, at widths that are multiples of a
/// vector and at all others. Each device has a class that inherits this one.
/// </summary>
public abstract class RowKernelTests
{
    private static readonly Gen<(int Rows, int Width, int Count, bool IsBFloat16)> s_sizes =
        Gen.Select(Gen.Int[1, 9], Gen.OneOf(Gen.Int[1, 150], Gen.Int[1, 90].Select(packs => 8 * packs)), Gen.Int[3, 19], Gen.Bool);

    private protected abstract IRowKernels Kernels(ScalarType type);

    /// <summary>The number of samples of most tests.</summary>
    protected virtual int Times => 60;

    /// <summary>A tensor on the device of the kernels.</summary>
    protected abstract Tensor OnDevice(Tensor x);

    [Fact]
    public void Norm_equals_libtorch_for_all_and_selected_features() => Check(s_sizes, size =>
    {
        Tensor x = (ToSingle(Draw(size.IsBFloat16, 2, size.Rows, size.Width)) + 3).to(
            size.IsBFloat16 ? ScalarType.BFloat16 : ScalarType.Float32);
        Tensor weight = Draw(size.IsBFloat16, size.Width), bias = Draw(size.IsBFloat16, size.Width),
            index = Indices(size.Width, size.Count), wide = ToSingle(x);
        Tensor layer = nn.functional.layer_norm(wide, [size.Width], ToSingle(weight), ToSingle(bias), 1e-5);
        Tensor root = wide * (wide.pow(2).mean([-1L], keepdim: true) + 1e-5).rsqrt() * ToSingle(weight);
        var kernels = Kernels(x.dtype);
        Tensor Norm(bool centred, Tensor? selected) =>
            kernels.Norm(OnDevice(x), OnDevice(weight), centred ? OnDevice(bias) : null, centred, 1e-5, selected is null ? null
                : OnDevice(selected));

        Close.Within(Tolerance(size.IsBFloat16), layer, Norm(true, null), $"{size}");
        Close.Within(Tolerance(size.IsBFloat16), layer.index_select(-1, index), Norm(true, index), $"{size}");
        Close.Within(Tolerance(size.IsBFloat16), root, Norm(false, null), $"{size}");
        Close.Within(Tolerance(size.IsBFloat16), root.index_select(-1, index), Norm(false, index), $"{size}");
    }, Times);

    /// <summary>A plan may select no feature of a site.</summary>
    [Fact]
    public void An_empty_selection_reads_and_adds_nothing()
    {
        using var scope = NewDisposeScope();
        Tensor x = OnDevice(Draw(false, 2, 24)), none = OnDevice(zeros(0, ScalarType.Int64)), weight = OnDevice(Draw(false, 24));
        var kernels = Kernels(x.dtype);
        Assert.Equal([2, 0], kernels.Norm(x, weight, null, centred: false, 1e-5, none).shape);
        Close.Within(0, x.cpu(), kernels.IndexAdd(x, none, OnDevice(zeros(2, 0)), inPlace: false), "nothing added");
        Assert.Equal([2, 0], kernels.SwiGlu(OnDevice(zeros(2, 0)), OnDevice(zeros(2, 0)), inPlace: true).shape);
    }

    [Fact]
    public void Norm_backward_equals_libtorch() => Check(s_sizes, size =>
    {
        // The norm of a single feature is its sign, whose gradient is rounding error.
        int width = size.Width + 8;
        Tensor x = Draw(size.IsBFloat16, size.Rows, width), weight = Draw(size.IsBFloat16, width),
            back = Draw(size.IsBFloat16, size.Rows, width);
        Tensor wide = x.to(ScalarType.Float32, copy: true).requires_grad_();
        (wide * (wide.pow(2).mean([-1L], keepdim: true) + 1e-5).rsqrt() * ToSingle(weight)).backward([ToSingle(back)]);
        Close.Within(2 * Tolerance(size.IsBFloat16), wide.grad!,
            Kernels(x.dtype).NormBackward(OnDevice(x), OnDevice(weight), 1e-5, OnDevice(back)), $"{size}");
    }, Times);

    [Fact]
    public void Index_add_equals_libtorch() => Check(s_sizes, size =>
    {
        Tensor index = Indices(size.Width, size.Count);
        Tensor stream = Draw(size.IsBFloat16, 2, size.Rows, size.Width), output = Draw(size.IsBFloat16, 2, size.Rows, index.size(0)),
            there = OnDevice(stream).clone();
        Tensor expected = ToSingle(stream).index_add(-1, index, ToSingle(output), 1);
        Close.Within(Tolerance(size.IsBFloat16), expected,
            Kernels(stream.dtype).IndexAdd(there, OnDevice(index), OnDevice(output), inPlace: false), $"{size}");
        Assert.True(stream.Equals(there.cpu()));
        Kernels(stream.dtype).IndexAdd(there, OnDevice(index), OnDevice(output), inPlace: true);
        Close.Within(Tolerance(size.IsBFloat16), expected, there, $"{size}, in place");
    }, Times);

    /// <summary>Selections ascend; other indices are selected in their order.</summary>
    [Fact]
    public void Gating_equals_libtorch() => Check(s_sizes, size =>
    {
        Tensor x = Draw(size.IsBFloat16, size.Rows, size.Width), shuffled = randperm(size.Width), gates = randn(size.Width),
            stream = Draw(size.IsBFloat16, size.Rows, size.Width);
        var kernels = Kernels(x.dtype);
        Close.Within(Tolerance(size.IsBFloat16), ToSingle(x) * gates, kernels.Gated(OnDevice(x), OnDevice(gates), null), $"{size}");
        Close.Within(Tolerance(size.IsBFloat16), ToSingle(stream) + (ToSingle(x) * gates),
            kernels.AddGated(OnDevice(stream), OnDevice(x), OnDevice(gates)), $"{size}");
        foreach (Tensor index in new[] { Indices(size.Width, (size.Width + 1) / 2), Indices(size.Width, 1), shuffled,
            shuffled.sort().Values })
        {
            Close.Within(
                Tolerance(size.IsBFloat16), ToSingle(x.index_select(-1, index)) * gates.index_select(0, index),
                    kernels.Gated(OnDevice(x), OnDevice(gates), OnDevice(index)), $"{size}");
        }
    }, Times);

    [Fact]
    public void Gate_backward_equals_libtorch_for_any_number_of_rows() =>
        Check(Gen.Select(Gen.Int[1, 2000], Gen.Int[1, 67], Gen.Bool, Gen.Bool), size =>
    {
        var (rows, steps, whole, isBFloat16) = size;
        int width = whole ? 8 * steps : steps;
        Tensor features = Draw(isBFloat16, rows, width), back = Draw(isBFloat16, rows, width), gates = rand(width);
        Tensor expected = (features.to(ScalarType.Float64) * back.to(ScalarType.Float64)).sum([0L]), passed = ToSingle(back) * gates;
        var index = Indices(width, (width + 1) / 2);
        Tensor there = OnDevice(back).clone();
        var kernels = Kernels(back.dtype);
        void Compare(Tensor wanted, (Tensor Gates, Tensor Features) actual)
        {
            Close.Within(1e-4, expected, actual.Gates, $"{size}");
            Close.Within(Tolerance(isBFloat16), wanted, actual.Features, $"{size}");
        }

        Compare(passed.index_select(-1, index),
            kernels.GateBackward(OnDevice(features), there, OnDevice(gates), OnDevice(index), inPlace: false));
        Compare(passed, kernels.GateBackward(OnDevice(features), there, OnDevice(gates), null, inPlace: false));
        Assert.True(back.Equals(there.cpu()));
        Compare(passed, kernels.GateBackward(OnDevice(features), there, OnDevice(gates), null, inPlace: true));
        Close.Within(Tolerance(isBFloat16), passed, there, $"{size}");
    }, Times / 3);

    [Fact]
    public void SwiGlu_and_its_backward_equal_libtorch() => Check(s_sizes, size =>
    {
        Tensor gate = Draw(size.IsBFloat16, size.Rows, size.Width).mul_(20), up = Draw(size.IsBFloat16, size.Rows, size.Width),
            back = Draw(size.IsBFloat16, size.Rows, size.Width);
        Tensor[] wide = [gate.to(ScalarType.Float32, copy: true).requires_grad_(), up.to(ScalarType.Float32, copy: true).requires_grad_()];
        Tensor expected = nn.functional.silu(wide[0]) * wide[1], there = OnDevice(gate).clone();
        expected.backward([ToSingle(back)]);
        var kernels = Kernels(gate.dtype);
        var (byGate, byUp) = kernels.SwiGluBackward(there, OnDevice(up), OnDevice(back));
        Close.Within(2 * Tolerance(size.IsBFloat16), wide[0].grad!, byGate, $"{size}, of the gate");
        Close.Within(2 * Tolerance(size.IsBFloat16), wide[1].grad!, byUp, $"{size}, of the features");
        Close.Within(Tolerance(size.IsBFloat16), expected.detach(), kernels.SwiGlu(there, OnDevice(up), inPlace: false), $"{size}");
        Assert.True(gate.Equals(there.cpu()));
        kernels.SwiGlu(there, OnDevice(up), inPlace: true);
        Close.Within(Tolerance(size.IsBFloat16), expected.detach(), there, $"{size}, in place");
    }, Times);

    [Fact]
    public void Rotary_embedding_equals_the_formula_in_both_directions() =>
        Check(Gen.Select(Gen.Int[1, 5], Gen.Int[1, 16], Gen.Int[0, 12], Gen.Int[1, 3], Gen.Bool, Gen.Bool), size =>
    {
        var (length, half, rest, heads, everyRow, isBFloat16) = size;
        Tensor x = Draw(isBFloat16, 2, length, heads, (2 * half) + rest), angle = everyRow ? randn(2, length, half) : randn(length, half);
        Tensor cosine = cat([angle.cos(), angle.cos()], -1).to(x.dtype), sine = cat([angle.sin().neg(), angle.sin()], -1).to(x.dtype);
        Tensor Expected(double direction)
        {
            Tensor wide = ToSingle(x), rotated = wide.narrow(-1, 0, 2 * half),
                swapped = cat([rotated.narrow(-1, half, half), rotated.narrow(-1, 0, half)], -1);
            Tensor sum = (rotated * ToSingle(cosine).unsqueeze(-2)) + (swapped * ToSingle(sine).unsqueeze(-2) * direction);
            return cat([sum, wide.narrow(-1, 2 * half, rest)], -1);
        }

        var kernels = Kernels(x.dtype);
        Tensor there = OnDevice(x).clone();
        Close.Within(Tolerance(isBFloat16), Expected(1),
            kernels.ApplyRotary(there, OnDevice(cosine), OnDevice(sine), inverse: false, inPlace: false), $"{size}");
        Close.Within(Tolerance(isBFloat16), Expected(-1),
            kernels.ApplyRotary(there, OnDevice(cosine), OnDevice(sine), inverse: true, inPlace: false), $"{size}, back");
        Close.Within(
            Tolerance(isBFloat16), Expected(1),
                kernels.ApplyRotary(OnDevice(cat([x, x], -1)).narrow(-1, 0, x.size(-1)), OnDevice(cosine), OnDevice(sine), inverse: false,
                inPlace: false), $"{size}, apart");
        Assert.True(x.Equals(there.cpu()));
        kernels.ApplyRotary(there, OnDevice(cosine), OnDevice(sine), inverse: false, inPlace: true);
        Close.Within(Tolerance(isBFloat16), Expected(1), there, $"{size}, in place");
    }, Times);

    [Fact]
    public void Cross_entropy_and_its_gradient_equal_libtorch() =>
        Check(Gen.Select(Gen.Int[1, 40], Gen.Int[50, 3000], Gen.Bool, Gen.Bool), size =>
    {
        var (positions, vocabulary, whole, isBFloat16) = size;
        vocabulary = whole ? vocabulary / 8 * 8 : vocabulary;
        Tensor logits = Draw(isBFloat16, positions, vocabulary).mul_(2), targets = randint(0, vocabulary, positions, ScalarType.Int64);
        Tensor wide = logits.to(ScalarType.Float32, copy: true).requires_grad_();
        Tensor expected = nn.functional.cross_entropy(wide, targets);
        expected.backward();
        var (loss, gradient) = Kernels(logits.dtype).CrossEntropy(OnDevice(logits), OnDevice(targets));
        Assert.Equal(expected.ToDouble(), loss, 1e-5 * Math.Max(1, loss));
        Close.Within(Tolerance(isBFloat16), wide.grad!, gradient, $"{size}");
    }, Times / 2);

    private static Tensor Indices(int width, int count) => randperm(width).narrow(0, 0, Math.Min(width, count)).sort().Values;
}

/// <summary>The SIMD kernels of the CPU.</summary>
public sealed class HostRowKernelTests : RowKernelTests
{
    private protected override IRowKernels Kernels(ScalarType type) => HostKernels.Shared;

    protected override Tensor OnDevice(Tensor x) => x;
}
