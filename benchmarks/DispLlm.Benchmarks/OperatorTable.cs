using System.Diagnostics;
using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Benchmarks;

/// <summary>What single operators cost that a block is made of, and what may stand in their place: bfloat16, LLaMA-2 7B's widths, half of the features selected.</summary>
internal static class OperatorTable
{
    private const int Hidden = 4096, Selected = Hidden / 2, Mlp = 11008, HeadSize = 128, Times = 30;
    private const double Epsilon = 1e-5;

    public static void Print(TextWriter output, bool onGpu, int rows)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        var backend = StepDevice.Backend(ScalarType.BFloat16, onGpu);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"BFloat16, {rows:N0} rows, {(onGpu ? "GPU" : $"{get_num_threads()} threads")}; means of {Times} calls.\n"));
        output.WriteLine("| operator | µs | of it the host's |\n|---|---|---|");
        void Row(string name, Action work)
        {
            var (all, host) = Microseconds(backend, work);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {name} | {all:F1} | {host:F1} |"));
        }

        Tensor Numbers(params long[] shape) => randn(shape, ScalarType.BFloat16, backend.Device);
        Tensor few = Numbers(8);
        Row("sum of eight numbers", () => few.add(few));

        Tensor stream = Numbers(1, rows, Hidden), other = Numbers(1, rows, Hidden), weight = Numbers(Hidden), written = Numbers(1, rows, Selected);
        Row("norm, operator by operator", () => EagerStep.Norm(stream, weight, Epsilon));
        Row("norm, one operator", () => ScriptedKernels.RootMeanSquareNorm(stream, weight, Epsilon));
        Tensor leaf = stream.detach().clone().requires_grad_();
        Row("norm, operator by operator, and back", () => EagerStep.Norm(leaf, weight, Epsilon).backward([other]));
        Row("norm, one operator, and back", () => ScriptedKernels.RootMeanSquareNorm(leaf, weight, Epsilon).backward([other]));

        Tensor index = randperm(Hidden, ScalarType.Int64, CPU).narrow(0, 0, Selected).sort().Values;
        Tensor inverse = full([Hidden], Selected, ScalarType.Int64, CPU).scatter_(0, index, arange(Selected, ScalarType.Int64)).to(backend.Device);
        Tensor none = zeros([1, rows, 1], ScalarType.BFloat16, backend.Device);
        index = index.to(backend.Device);
        Row("sum", () => stream.add(other));
        Row("selection by index", () => stream.index_select(-1, index));
        Row("index addition", () => stream.index_add_(-1, index, written, 1));
        Row("selection, sum, index copy", () => stream.index_copy_(-1, index, stream.index_select(-1, index).add_(written)));
        Row("selection by the inverse index, sum", () => stream.add_(cat([written, none], -1).index_select(-1, inverse)));

        Tensor hidden = Numbers(1, rows, Mlp), up = Numbers(1, rows, Mlp), gates = Numbers(Mlp);
        Row("hidden features, product", () => hidden.mul(up));
        Row("hidden features, product with gates", () => hidden.mul(gates));
        Row("hidden features, sum over rows", () => hidden.view(-1, Mlp).sum(0, type: ScalarType.Float32));

        Tensor heads = stream.view(1, rows, Hidden / HeadSize, HeadSize), cosine = Numbers(rows, 1, HeadSize), half = cosine.narrow(-1, 0, HeadSize / 2);
        Row("turn: product", () => heads.mul(cosine));
        Row("turn: one half", () => heads.narrow(-1, 0, HeadSize / 2).addcmul_(heads.narrow(-1, HeadSize / 2, HeadSize / 2), half, 1));
        Row("turn: roll", () => heads.roll(HeadSize / 2, -1));
    }

    private static (double All, double Host) Microseconds(ITensorBackend backend, Action work)
    {
        using var gradient = enable_grad();
        void Once()
        {
            using var scope = NewDisposeScope();
            work();
        }

        Once();
        Once();
        StepDevice.Wait(backend);
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < Times; i++)
        {
            Once();
        }

        double host = Stopwatch.GetElapsedTime(start).TotalMicroseconds / Times;
        StepDevice.Wait(backend);
        return (Stopwatch.GetElapsedTime(start).TotalMicroseconds / Times, host);
    }
}
