using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>A decode step that is captured once and replayed, with emulated kernels.</summary>
public sealed class CapturedDecodeGraphTests
{
    private const int Groups = 2, Head = 32, Width = Groups * Head, Capacity = 40;

    public CapturedDecodeGraphTests() => CudaEmulator.SkipWithoutCompiler();

    /// <summary>
    /// Of blocks as a model has them: every tensor between kernels is gone when it has been recorded, and the position is another one each
    /// time.
    /// </summary>
    [Fact]
    public void A_repeated_pass_is_the_computed_one_byte_by_byte_wherever_it_stands()
    {
        using var scope = NewDisposeScope();
        var (program, pass, cache) = Blocks();
        Tensor first = Draw(true, 1, 1, Width), two = Draw(true, 2, 1, Width);
        long before = LiveTensors.Before();
        using var recorded = CapturedDecodeGraph.TryCapture(program, first, 5, pass)!;
        for (int seen = 5; seen < Capacity; seen++)
        {
            using var step = NewDisposeScope();
            Tensor entering = Draw(true, 1, 1, Width), kept = entering.clone();
            var (keys, values) = (cache.Key.clone(), cache.Value.clone());
            Tensor repeated = recorded.Replay(entering, seen).clone();
            Tensor repeatedKeys = cache.Key.clone();
            cache.Key.copy_(keys);
            cache.Value.copy_(values);
            Tensor computed = Computed(pass, entering, seen);
            Assert.True(computed.Equals(repeated), $"Position {seen} is another one.");
            Assert.True(cache.Key.Equals(repeatedKeys), $"The keys of position {seen} are others.");
            Assert.True(entering.Equals(kept));
        }

        Assert.True(recorded.CanHandle(first));
        Assert.False(recorded.CanHandle(two));
        recorded.Dispose();
        Assert.Equal(before, LiveTensors.Before());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_step_with_a_libtorch_operator_is_detected(bool isLast)
    {
        using var scope = NewDisposeScope();
        var (program, pass, _) = Blocks();
        Tensor one = Draw(true, 1, 1, Width);
        Tensor WithOperator(Tensor stream, Tensor? place) => isLast ? pass(stream, place) * one : pass(stream * one, place);

        // Once before: what is freed then, and taken again, holds what a pass of the same stream would need.
        Tensor entering = Draw(true, 1, 1, Width);
        Computed(WithOperator, entering, 5);
        Assert.Null(CapturedDecodeGraph.TryCapture(program, entering, 5, (stream, place) => WithOperator(stream, place ?? At(5))));
    }

    [Fact]
    public void On_the_processor_nothing_is_recorded()
    {
        using var scope = NewDisposeScope();
        Assert.Null(CapturedDecodeGraph.TryCapture(Draw(true, 1, 1, Width), 5, (stream, _) => stream));
    }

    private static Tensor At(long seen) => tensor([(int)seen], ScalarType.Int32);

    private static Tensor Computed(Func<Tensor, Tensor?, Tensor> pass, Tensor entering, long seen)
    {
        using var scope = NewDisposeScope();
        return pass(entering, At(seen)).MoveToOuterDisposeScope();
    }

    private static (CudaProgram Program, Func<Tensor, Tensor?, Tensor> Pass, (Tensor Key, Tensor Value) Cache) Blocks()
    {
        var program = CudaEmulator.GetProgram(ScalarType.BFloat16);
        CudaKernels rows = new(program);
        CudaDecodeKernels tokens = new(program);
        Tensor norm = Draw(true, Width), index = arange(0, Width, 2, ScalarType.Int64), angle = randn(Capacity, Head / 2);
        (Tensor, Tensor?)[] readers = [.. Enumerable.Range(0, 3).Select(_ => (Draw(true, Width, Width / 2).mul_(0.2), (Tensor?)null))];
        Tensor writer = Draw(true, Width / 2, Width).mul_(0.2);
        var turns = (cat([angle.cos(), angle.cos()], -1).to(ScalarType.BFloat16),
            cat([angle.sin().neg(), angle.sin()], -1).to(ScalarType.BFloat16));
        var cache = (Draw(true, 1, Groups, Capacity, Head), Draw(true, 1, Groups, Capacity, Head));
        Tensor Pass(Tensor stream, Tensor? place)
        {
            using var scope = NewDisposeScope();
            for (int block = 0; block < 2; block++)
            {
                Tensor[] read = tokens.Project(rows.Norm(stream, norm, null, centred: false, 1e-5, index), readers)!;
                Tensor mixed = tokens.Attend(read[0], read[1], read[2], turns, null, cache, 5, place);
                stream = rows.IndexAdd(stream, index, tokens.Project(mixed, [(writer, null)])![0], inPlace: false);
            }

            return stream.MoveToOuterDisposeScope();
        }

        return (program, Pass, cache);
    }
}
