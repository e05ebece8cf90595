using DispLlm.Tests.Architecture;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>
/// TorchSharp may free an implicit scalar during the native call that reads it. The library keeps its scalars alive by
/// <see cref="ScalarOps"/>, and must not call what bypasses it.
/// </summary>
public sealed class ScalarOpsTests
{
    [Fact]
    public void No_scalar_bypasses_ScalarOps()
    {
        using var torch = new AssemblyCalls(typeof(Scalar).Assembly);
        using var library = new AssemblyCalls(typeof(IModelFamily).Assembly);
        using var kernels = new AssemblyCalls(typeof(ScalarOps).Assembly);
        static bool Wraps(string method) =>
            method.StartsWith("Scalar.op_Implicit(", StringComparison.Ordinal) || method.Contains(".ToScalar(", StringComparison.Ordinal);

        // Methods that wrap a number, and those that call them, directly or not.
        var methods = torch.All().ToArray();
        var wrapping = methods.Where(
            method => !Wraps(method.Method) && method.Calls.Any(Wraps)).Select(method => method.Method).ToHashSet(StringComparer.Ordinal);
        for (int before = 0; before != wrapping.Count;)
        {
            before = wrapping.Count;
            wrapping.UnionWith(methods.Where(
                method => !Wraps(method.Method) && method.Calls.Any(wrapping.Contains)).Select(method => method.Method));
        }

        Assert.Contains("torch+Tensor.op_Addition(Tensor,Tensor)", wrapping);
        static bool Holds(string method) => method.StartsWith(nameof(ScalarOps) + ".", StringComparison.Ordinal);
        var calls = library.All().Concat(kernels.All()).SelectMany(
            method => method.Calls.Select(call => (method.Method, Call: call))).ToArray();

        // The parameter type of scripts admits tensors only.
        static bool PassesTensors(string method) =>
            method.StartsWith("TorchScriptKernels.Run(CompilationUnit,String,Tensor[])", StringComparison.Ordinal);
        Assert.DoesNotContain(
            calls, entry => (wrapping.Contains(entry.Call) && !PassesTensors(entry.Method)) || (Wraps(entry.Call) && !Holds(entry.Method)));
        Assert.Contains(calls, entry => Wraps(entry.Call));
    }

    [Fact]
    public void Concurrent_garbage_collections_change_nothing()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var text = TokenCorpus.FromTokens([.. Enumerable.Range(0, 1500).Select(i => 3 + i * i % 61)]);
        var strategy = new HypernetworkSelection
        {
            Steps = 12,
            SequenceLength = 32,
            InitialScores = new FisherSelection { Rounds = 2, SequencesPerRound = 4, SequenceLength = 32 },
        };
        SelectionPlan Learn() =>
            strategy.Select(new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.4), Calibration = text }).Plan;

        var quiet = Learn();
        using var done = new CancellationTokenSource();
        var collecting = new Thread(() =>
        {
            while (!done.IsCancellationRequested)
            {
                GC.Collect(0);
                Thread.Sleep(0);
            }
        });
        collecting.Start();
        try
        {
            Assert.Equal(quiet, Learn());
        }
        finally
        {
            done.Cancel();
            collecting.Join();
        }
    }

    [Fact]
    public void ScalarOps_equal_the_operators()
    {
        using var scope = NewDisposeScope();
        Tensor x = tensor([-1.5f, 0.25f, 2f]), y = tensor([3f, -4f, 0.5f]);
        void Same(Tensor expected, Tensor actual) => Assert.Equal(expected.data<float>().ToArray(), actual.data<float>().ToArray());

        Same(x + y, x.Add(y));
        Same(x + 0.1, x.AddScalar(0.1));
        Same(1 - x, x.OneMinus());
        Same(x * 0.3, x.MulScalar(0.3));
        Same(x / 3, x.DivScalar(3));
        Same(x.pow(3), x.PowScalar(3));
        Same(x.clamp_min(0.5), x.ClampMin(0.5));
        Same(x.clamp(-1, 1), x.Clamp(-1, 1));
        Same(x + (2.5 * y), x.clone().AddInPlace(y, 2.5));
        Same(x + (2 * x * y), x.clone().AddCMulInPlace(x, y, 2));
        Same(x + (2 * x / y), x.clone().AddCDivInPlace(x, y, 2));
        Assert.Equal([2L, 3, 4], ScalarOps.Arange(2, 5).data<long>().ToArray());
        Assert.Equal(0.25, x[1].ReadDouble());
        Assert.Equal(-4, y[1].ReadInt64());
        Assert.True((x[1] > 0).ReadBool());
        Assert.Equal(ScalarType.Int64, ScalarOps.Arange(0, 2).AddScalar(1L).ClampMin(1L).RemainderScalar(2).dtype);
    }
}
