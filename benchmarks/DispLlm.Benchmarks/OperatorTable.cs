using System.Diagnostics;
using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Benchmarks;

/// <summary>
/// The time of the operators of a block and of their alternatives: bfloat16, LLaMA-2 7B's widths, half of the features selected.
/// </summary>
internal static class OperatorTable
{
    private const int Hidden = 4096, Selected = Hidden / 2, Mlp = 11008, HeadSize = 128, Times = 30;
    private const double Epsilon = 1e-5;

    public static void Print(TextWriter output, bool onGpu, int rows)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        var backend = StepDevice.Backend(ScalarType.BFloat16, onGpu);
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"BFloat16, {rows:N0} rows, {(onGpu ? "GPU" : $"{get_num_threads()} threads")}; means of {Times} calls.\n"));
        output.WriteLine("| operator | µs | of it on the host |\n|---|---|---|");
        void Row(string name, Action work)
        {
            var (all, host) = Microseconds(backend, work);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {name} | {all:F1} | {host:F1} |"));
        }

        Tensor Numbers(params long[] shape) => randn(shape, ScalarType.BFloat16, backend.Device);
        Tensor few = Numbers(8);
        Row("sum of eight numbers", () => few.add(few));
        Row("empty tensor", () => empty(8, ScalarType.BFloat16, backend.Device));

        Tensor stream = Numbers(1, rows, Hidden), other = Numbers(1, rows, Hidden), weight = Numbers(Hidden),
            written = Numbers(1, rows, Selected);
        Tensor index = randperm(Hidden, ScalarType.Int64, CPU).narrow(0, 0, Selected).sort().Values.to(backend.Device),
            factors = rand(Hidden, ScalarType.Float32, backend.Device);
        var own = RowKernels.For(stream) ?? throw new InvalidOperationException("This device has no row kernels.");
        Row("norm, operator by operator", () => EagerStep.Norm(stream, weight, Epsilon));
        Row("norm, one operator", () => TorchScriptKernels.RootMeanSquareNorm(stream, weight, Epsilon));
        Row("norm, kernel", () => own.Norm(stream, weight, null, centred: false, Epsilon, null));
        Row("norm of selected features, kernel", () => own.Norm(stream, weight, null, centred: false, Epsilon, index));
        Tensor leaf = stream.detach().clone().requires_grad_();
        Row("norm, operator by operator, with backward", () => EagerStep.Norm(leaf, weight, Epsilon).backward([other]));
        Row("norm, one operator, with backward", () => TorchScriptKernels.RootMeanSquareNorm(leaf, weight, Epsilon).backward([other]));
        Row("norm, kernel, with backward", () => RmsNormFunction.Apply(leaf, weight, Epsilon).backward([other]));

        Row("sum", () => stream.add(other));
        Row("selection by index", () => stream.index_select(-1, index));
        Row("index addition", () => stream.index_add_(-1, index, written, 1));
        Row("index addition, kernel, in place", () => own.IndexAdd(stream, index, written, inPlace: true));
        Row("index addition, kernel", () => own.IndexAdd(stream, index, written, inPlace: false));
        Row("sum with gated features, kernel", () => own.AddGated(stream, other, factors));

        Tensor hidden = Numbers(1, rows, Mlp), up = Numbers(1, rows, Mlp), gradient = Numbers(1, rows, Mlp),
            gates = rand(Mlp, ScalarType.Float32, backend.Device), narrow = gates.to(ScalarType.BFloat16);
        Row("hidden features, multiplication", () => hidden.mul(up));
        Row("hidden features, multiplication with gates", () => hidden.mul(narrow));
        Row("hidden features, multiplication with gates, kernel", () => own.Gated(hidden, gates, null));
        Row("hidden features, sum over rows", () => hidden.view(-1, Mlp).sum(0, type: ScalarType.Float32));
        Row("hidden features, backward through gates, kernel", () => own.GateBackward(hidden, gradient, gates, null, inPlace: true));
        Row("hidden features, activation", () => nn.functional.silu(hidden).mul_(up));
        Row("hidden features, activation, kernel", () => own.SwiGlu(hidden, up, inPlace: false));
        Row("hidden features, activation backward, kernel", () => own.SwiGluBackward(hidden, up, gradient));

        Tensor heads = stream.view(1, rows, Hidden / HeadSize, HeadSize), cosine = Numbers(rows, HeadSize),
            half = cosine.narrow(-1, 0, HeadSize / 2).unsqueeze(1);
        Row("rotary: multiplication", () => heads.mul(cosine.unsqueeze(1)));
        Row("rotary: one half", () => heads.narrow(-1, 0, HeadSize / 2).addcmul_(heads.narrow(-1, HeadSize / 2, HeadSize / 2), half, 1));
        Row("rotary, kernel", () => own.ApplyRotary(heads, cosine, cosine, inverse: false, inPlace: true));

        Tensor projection = Numbers(Hidden, Hidden);
        Row("projection", () => nn.functional.linear(stream, projection));
        Row("projection, kernel where it is faster", () => DeviceKernels.Linear(stream, [(projection, null)]));
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
