using DispLlm.Tests.Kernels;
using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Modeling;

/// <summary>The decode path that captures graphs, with a real cache and kernels that run on the CPU.</summary>
public sealed class CapturedGraphDecodePathTests
{
    private const int Groups = 2, Head = 32, Width = Groups * Head, Blocks = 2, Limit = 128;

    public CapturedGraphDecodePathTests() => CudaEmulator.SkipWithoutCompiler();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Steps_are_those_of_the_blocks_while_the_cache_grows_is_truncated_and_cleared(bool padded)
    {
        using var scope = NewDisposeScope();
        int[]? padding = padded ? [2] : null;
        using KeyValueCache captured = new(this, Blocks, Limit, padding), computed = new(this, Blocks, Limit, padding);
        var path = new CapturedGraphDecodePath(CudaEmulator.GetProgram(ScalarType.BFloat16));
        var forward = Network();
        var states = new List<bool>();
        void Step()
        {
            using var step = NewDisposeScope();
            Tensor hidden = Draw(true, 1, 1, Width);
            Assert.True(path.CanHandle(hidden, captured));
            Tensor expected = forward(hidden, computed, null),
                actual = path.Forward(hidden, captured, (input, length) => forward(input, captured, length));
            Assert.True(expected.Equals(actual), $"Step {captured.Length} differs.");
            captured.Advance(1);
            computed.Advance(1);
            states.Add(HasGraph(captured));
        }

        for (int step = 0; step < 70; step++)
        {
            Step();
        }

        // The first step allocates, step 64 moves to larger tensors: four steps later there is a graph.
        Assert.Equal(Enumerable.Range(0, 70).Select(step => step is >= 4 and < 64 or >= 68), states);
        captured.Truncate(5);
        computed.Truncate(5);
        Step();
        captured.Clear();
        computed.Clear();
        Step();
        Assert.True(states[^1]);
    }

    [Fact]
    public void Disposing_the_cache_disposes_the_graph()
    {
        using var scope = NewDisposeScope();
        var forward = Network();
        var path = new CapturedGraphDecodePath(CudaEmulator.GetProgram(ScalarType.BFloat16));
        Tensor hidden = Draw(true, 1, 1, Width);
        long before = LiveTensors.Before();
        using (var cache = new KeyValueCache(this, Blocks, Limit, null))
        {
            for (int step = 0; step < 6; step++)
            {
                using var inner = NewDisposeScope();
                path.Forward(hidden, cache, (input, length) => forward(input, cache, length));
                cache.Advance(1);
            }

            Assert.True(HasGraph(cache));
        }

        Assert.Equal(before, LiveTensors.Before());
    }

    [Fact]
    public void Gradients_are_not_captured() => Assert.False(
        new CapturedGraphDecodePath(CudaEmulator.GetProgram(ScalarType.BFloat16)).CanHandle(
            Draw(true, 1, 1, Width).requires_grad_(), new KeyValueCache(this, Blocks, Limit, null)));

    private static bool HasGraph(IKeyValueMemory cache) => cache.DecodeState is CudaDecodeState { Graph: not null };

    private static Func<Tensor, KeyValueCache, Tensor?, Tensor> Network()
    {
        var program = CudaEmulator.GetProgram(ScalarType.BFloat16);
        CudaKernels rows = new(program);
        CudaDecodeKernels kernels = new(program);
        Tensor norm = Draw(true, Width), index = arange(0, Width, 2, ScalarType.Int64), angle = randn(Limit, Head / 2);
        (Tensor, Tensor?)[] inputs = [.. Enumerable.Range(0, 3).Select(_ => (Draw(true, Width, Width / 2).mul_(0.2), (Tensor?)null))];
        Tensor output = Draw(true, Width / 2, Width).mul_(0.2);
        var rotary = (cat([angle.cos(), angle.cos()], -1).to(ScalarType.BFloat16),
            cat([angle.sin().neg(), angle.sin()], -1).to(ScalarType.BFloat16));
        return (hidden, cache, length) =>
        {
            using var scope = NewDisposeScope();
            for (int block = 0; block < Blocks; block++)
            {
                Tensor[] projected = kernels.Project(rows.Norm(hidden, norm, null, centred: false, 1e-5, index), inputs)!;
                var held = cache.Reserve(block, projected[1], Groups, Head);
                Tensor heads = new CudaDecodeAttention(kernels, cache, length).Attend(
                    projected[0], projected[1], projected[2], rotary, held);
                hidden = rows.IndexAdd(hidden, index, kernels.Project(heads, [(output, null)])![0], inPlace: false);
            }

            return hidden.MoveToOuterDisposeScope();
        };
    }
}
