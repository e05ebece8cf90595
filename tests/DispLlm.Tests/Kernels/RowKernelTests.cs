using CsCheck;
using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>
/// What stands between matrix products computes on every device what the framework's operators, and their own gradients, do in float32 on the CPU: at widths that are whole packs of numbers and
/// at all others, alone and in many rows. A device's kernels inherit this.
/// </summary>
public abstract class RowKernelTests
{
    private static readonly Gen<(int Rows, int Width, int Count, bool Narrow)> s_sizes =
        Gen.Select(Gen.Int[1, 9], Gen.OneOf(Gen.Int[1, 150], Gen.Int[1, 90].Select(packs => 8 * packs)), Gen.Int[3, 19], Gen.Bool);

    private protected abstract IRowKernels Kernels(ScalarType type);

    /// <summary>How many samples are drawn, of most sizes.</summary>
    protected virtual int Times => 60;

    /// <summary>A tensor where the kernels compute.</summary>
    protected abstract Tensor There(Tensor x);

    [Fact]
    public void A_norm_writes_what_is_selected() => Check(s_sizes, size =>
    {
        Tensor x = (Wide(Draw(size.Narrow, 2, size.Rows, size.Width)) + 3).to(size.Narrow ? ScalarType.BFloat16 : ScalarType.Float32);
        Tensor weight = Draw(size.Narrow, size.Width), bias = Draw(size.Narrow, size.Width), index = Indices(size.Width, size.Count), wide = Wide(x);
        Tensor layer = nn.functional.layer_norm(wide, [size.Width], Wide(weight), Wide(bias), 1e-5);
        Tensor root = wide * (wide.pow(2).mean([-1L], keepdim: true) + 1e-5).rsqrt() * Wide(weight);
        var kernels = Kernels(x.dtype);
        Tensor Norm(bool centred, Tensor? selected) =>
            kernels.Norm(There(x), There(weight), centred ? There(bias) : null, centred, 1e-5, selected is null ? null : There(selected));

        Close.Within(Tolerance(size.Narrow), layer, Norm(true, null), $"{size}");
        Close.Within(Tolerance(size.Narrow), layer.index_select(-1, index), Norm(true, index), $"{size}");
        Close.Within(Tolerance(size.Narrow), root, Norm(false, null), $"{size}");
        Close.Within(Tolerance(size.Narrow), root.index_select(-1, index), Norm(false, index), $"{size}");
    }, Times);

    /// <summary>A plan may keep no feature of a site.</summary>
    [Fact]
    public void Nothing_selected_is_nothing_read_and_nothing_added()
    {
        using var scope = NewDisposeScope();
        Tensor x = There(Draw(false, 2, 24)), none = There(zeros(0, ScalarType.Int64)), weight = There(Draw(false, 24));
        var kernels = Kernels(x.dtype);
        Assert.Equal([2, 0], kernels.Norm(x, weight, null, centred: false, 1e-5, none).shape);
        Close.Within(0, x.cpu(), kernels.IndexAdd(x, none, There(zeros(2, 0)), inPlace: false), "nothing added");
        Assert.Equal([2, 0], kernels.SwiGlu(There(zeros(2, 0)), There(zeros(2, 0)), inPlace: true).shape);
    }

    [Fact]
    public void A_norms_gradient_is_the_frameworks() => Check(s_sizes, size =>
    {
        // Of a single feature only the sign passes, and its gradient is what rounding left.
        int width = size.Width + 8;
        Tensor x = Draw(size.Narrow, size.Rows, width), weight = Draw(size.Narrow, width), back = Draw(size.Narrow, size.Rows, width);
        Tensor wide = x.to(ScalarType.Float32, copy: true).requires_grad_();
        (wide * (wide.pow(2).mean([-1L], keepdim: true) + 1e-5).rsqrt() * Wide(weight)).backward([Wide(back)]);
        Close.Within(2 * Tolerance(size.Narrow), wide.grad!, Kernels(x.dtype).NormBackward(There(x), There(weight), 1e-5, There(back)), $"{size}");
    }, Times);

    [Fact]
    public void Addition_by_index_adds_where_the_index_says() => Check(s_sizes, size =>
    {
        Tensor index = Indices(size.Width, size.Count);
        Tensor stream = Draw(size.Narrow, 2, size.Rows, size.Width), output = Draw(size.Narrow, 2, size.Rows, index.size(0)), there = There(stream).clone();
        Tensor expected = Wide(stream).index_add(-1, index, Wide(output), 1);
        Close.Within(Tolerance(size.Narrow), expected, Kernels(stream.dtype).IndexAdd(there, There(index), There(output), inPlace: false), $"{size}");
        Assert.True(stream.Equals(there.cpu()));
        Kernels(stream.dtype).IndexAdd(there, There(index), There(output), inPlace: true);
        Close.Within(Tolerance(size.Narrow), expected, there, $"{size}, in place");
    }, Times);

    /// <summary>Selections ascend; what does not is still selected in its order.</summary>
    [Fact]
    public void Gated_features_are_the_frameworks() => Check(s_sizes, size =>
    {
        Tensor x = Draw(size.Narrow, size.Rows, size.Width), shuffled = randperm(size.Width), gates = randn(size.Width), stream = Draw(size.Narrow, size.Rows, size.Width);
        var kernels = Kernels(x.dtype);
        Close.Within(Tolerance(size.Narrow), Wide(x) * gates, kernels.Gated(There(x), There(gates), null), $"{size}");
        Close.Within(Tolerance(size.Narrow), Wide(stream) + (Wide(x) * gates), kernels.AddGated(There(stream), There(x), There(gates)), $"{size}");
        foreach (Tensor index in new[] { Indices(size.Width, (size.Width + 1) / 2), Indices(size.Width, 1), shuffled, shuffled.sort().Values })
        {
            Close.Within(
                Tolerance(size.Narrow), Wide(x.index_select(-1, index)) * gates.index_select(0, index), kernels.Gated(There(x), There(gates), There(index)), $"{size}");
        }
    }, Times);

    [Fact]
    public void Gates_get_the_sum_of_what_passed_times_what_came_back_however_it_is_shared_out() => Check(Gen.Select(Gen.Int[1, 2000], Gen.Int[1, 67], Gen.Bool, Gen.Bool), size =>
    {
        var (rows, steps, whole, narrow) = size;
        int width = whole ? 8 * steps : steps;
        Tensor features = Draw(narrow, rows, width), back = Draw(narrow, rows, width), gates = rand(width);
        Tensor expected = (features.to(ScalarType.Float64) * back.to(ScalarType.Float64)).sum([0L]), passed = Wide(back) * gates;
        var index = Indices(width, (width + 1) / 2);
        Tensor there = There(back).clone();
        var kernels = Kernels(back.dtype);
        void Compare(Tensor wanted, (Tensor Gradient, Tensor Passed) actual)
        {
            Close.Within(1e-4, expected, actual.Gradient, $"{size}");
            Close.Within(Tolerance(narrow), wanted, actual.Passed, $"{size}");
        }

        Compare(passed.index_select(-1, index), kernels.GateBackward(There(features), there, There(gates), There(index), inPlace: false));
        Compare(passed, kernels.GateBackward(There(features), there, There(gates), null, inPlace: false));
        Assert.True(back.Equals(there.cpu()));
        Compare(passed, kernels.GateBackward(There(features), there, There(gates), null, inPlace: true));
        Close.Within(Tolerance(narrow), passed, there, $"{size}");
    }, Times / 3);

    [Fact]
    public void The_gated_activation_and_its_gradient_are_the_frameworks() => Check(s_sizes, size =>
    {
        Tensor gate = Draw(size.Narrow, size.Rows, size.Width).mul_(20), up = Draw(size.Narrow, size.Rows, size.Width), back = Draw(size.Narrow, size.Rows, size.Width);
        Tensor[] wide = [gate.to(ScalarType.Float32, copy: true).requires_grad_(), up.to(ScalarType.Float32, copy: true).requires_grad_()];
        Tensor expected = nn.functional.silu(wide[0]) * wide[1], there = There(gate).clone();
        expected.backward([Wide(back)]);
        var kernels = Kernels(gate.dtype);
        var (byGate, byUp) = kernels.SwiGluBackward(there, There(up), There(back));
        Close.Within(2 * Tolerance(size.Narrow), wide[0].grad!, byGate, $"{size}, by the gate");
        Close.Within(2 * Tolerance(size.Narrow), wide[1].grad!, byUp, $"{size}, by what it gates");
        Close.Within(Tolerance(size.Narrow), expected.detach(), kernels.SwiGlu(there, There(up), inPlace: false), $"{size}");
        Assert.True(gate.Equals(there.cpu()));
        kernels.SwiGlu(there, There(up), inPlace: true);
        Close.Within(Tolerance(size.Narrow), expected.detach(), there, $"{size}, in place");
    }, Times);

    [Fact]
    public void Heads_turn_as_the_formula_says_and_back() => Check(Gen.Select(Gen.Int[1, 5], Gen.Int[1, 16], Gen.Int[0, 12], Gen.Int[1, 3], Gen.Bool, Gen.Bool), size =>
    {
        var (length, half, rest, heads, everyRow, narrow) = size;
        Tensor x = Draw(narrow, 2, length, heads, (2 * half) + rest), angle = everyRow ? randn(2, length, half) : randn(length, half);
        Tensor cosine = cat([angle.cos(), angle.cos()], -1).to(x.dtype), sine = cat([angle.sin().neg(), angle.sin()], -1).to(x.dtype);
        Tensor Expected(double direction)
        {
            Tensor wide = Wide(x), turned = wide.narrow(-1, 0, 2 * half), swapped = cat([turned.narrow(-1, half, half), turned.narrow(-1, 0, half)], -1);
            Tensor sum = (turned * Wide(cosine).unsqueeze(-2)) + (swapped * Wide(sine).unsqueeze(-2) * direction);
            return cat([sum, wide.narrow(-1, 2 * half, rest)], -1);
        }

        var kernels = Kernels(x.dtype);
        Tensor there = There(x).clone();
        Close.Within(Tolerance(narrow), Expected(1), kernels.ApplyRotary(there, There(cosine), There(sine), back: false, inPlace: false), $"{size}");
        Close.Within(Tolerance(narrow), Expected(-1), kernels.ApplyRotary(there, There(cosine), There(sine), back: true, inPlace: false), $"{size}, back");
        Close.Within(
            Tolerance(narrow), Expected(1), kernels.ApplyRotary(There(cat([x, x], -1)).narrow(-1, 0, x.size(-1)), There(cosine), There(sine), back: false, inPlace: false), $"{size}, apart");
        Assert.True(x.Equals(there.cpu()));
        kernels.ApplyRotary(there, There(cosine), There(sine), back: false, inPlace: true);
        Close.Within(Tolerance(narrow), Expected(1), there, $"{size}, in place");
    }, Times);

    [Fact]
    public void The_loss_and_its_gradient_are_the_frameworks() => Check(Gen.Select(Gen.Int[1, 40], Gen.Int[50, 3000], Gen.Bool, Gen.Bool), size =>
    {
        var (positions, vocabulary, whole, narrow) = size;
        vocabulary = whole ? vocabulary / 8 * 8 : vocabulary;
        Tensor logits = Draw(narrow, positions, vocabulary).mul_(2), targets = randint(0, vocabulary, positions, ScalarType.Int64);
        Tensor wide = logits.to(ScalarType.Float32, copy: true).requires_grad_();
        Tensor expected = nn.functional.cross_entropy(wide, targets);
        expected.backward();
        var (loss, gradient) = Kernels(logits.dtype).CrossEntropy(There(logits), There(targets));
        Assert.Equal(expected.ToDouble(), loss, 1e-5 * Math.Max(1, loss));
        Close.Within(Tolerance(narrow), wide.grad!, gradient, $"{size}");
    }, Times / 2);

    private static Tensor Indices(int width, int count) => randperm(width).narrow(0, 0, Math.Min(width, count)).sort().Values;
}

/// <summary>Vector code on the CPU.</summary>
public sealed class HostRowKernelTests : RowKernelTests
{
    private protected override IRowKernels Kernels(ScalarType type) => HostKernels.Shared;

    protected override Tensor There(Tensor x) => x;
}
