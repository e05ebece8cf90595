using System.Diagnostics;
using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Benchmarks;

/// <summary>
/// The speed of the CPU's kernels and of libtorch's, as a share of the speed of a matrix multiplication of 512 rows; all alternate, and the
/// fastest round of each counts.
/// </summary>
internal static class KernelTable
{
    private const int Rounds = 7;

    private static readonly TimeSpan s_roundTime = TimeSpan.FromMilliseconds(50);

    public static void Print(TextWriter output)
    {
        using var noGradient = no_grad();
        output.WriteLine($"{get_num_threads()} threads. Operations per second, as a share of a matrix multiplication's.\n");
        foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            Attention(output, type);
            Rows(output, type);
        }
    }

    /// <summary>
    /// Causal attention, of which the half below the diagonal counts: forward, and with the backward pass, which has twice as many
    /// operations.
    /// </summary>
    private static void Attention(TextWriter output, ScalarType type)
    {
        output.WriteLine($"Causal attention, {type}:\n");
        output.WriteLine("| heads / key-value heads x size | positions | SIMD tiles | matrix multiplications | libtorch | with backward: "
            + "SIMD tiles | matrix multiplications | libtorch |");
        output.WriteLine("|---|---|---|---|---|---|---|---|");
        foreach (var (heads, groups, size) in new[] { (9L, 3L, 64L), (32, 8, 128), (32, 32, 128) })
        {
            foreach (long positions in new[] { 512L, 2048 })
            {
                using var scope = NewDisposeScope();
                double forward = 2.0 * heads * size * positions * (positions + 1);
                Tensor Heads(long count) => randn(1, positions, count, size).to(type).transpose(1, 2);
                Tensor query = Heads(heads), key = Heads(groups), value = Heads(groups), gradient = Heads(heads);
                Tensor[] leaves = [.. new[] { query, key, value }.Select(x => x.detach().requires_grad_())];
                Tensor Fused(Tensor q, Tensor k, Tensor v) => nn.functional.scaled_dot_product_attention(
                    q, k.repeat_interleave(heads / groups, dim: 1), v.repeat_interleave(heads / groups, dim: 1), is_casual: true);
                void WithBackward(Func<Tensor, Tensor, Tensor, Tensor> attention)
                {
                    using var enabled = enable_grad();
                    attention(leaves[0], leaves[1], leaves[2]).backward([gradient]);
                }

                Row(output, $"| {heads} / {groups} x {size} | {positions:N0} |", type,
                    [forward, forward, forward, 3 * forward, 3 * forward, 3 * forward],
                    () => TiledAttention.Apply(query, key, value),
                    () => MatmulAttentionFunction.Apply(query, key, value),
                    () => Fused(query, key, value),
                    () => WithBackward(TiledAttentionFunction.Apply),
                    () => WithBackward(MatmulAttentionFunction.Apply),
                    () => WithBackward(Fused));
            }
        }

        output.WriteLine();
    }

    /// <summary>Matrix multiplication of some rows with weights from memory: more of them than any cache holds.</summary>
    private static void Rows(TextWriter output, ScalarType type)
    {
        const long Memory = 200_000_000;
        output.WriteLine($"Matrix multiplication, {type}:\n\n| rows | weight | SIMD | libtorch |\n|---|---|---|---|");
        foreach (long rows in new[] { 1L, 2, 4, 16, 64, 512 })
        {
            // The first one is a warm-up, and is not printed.
            bool isFirst = true;
            foreach (var (outputs, width) in new[] { (4096L, 4096L), (4096, 4096), (4096, 2688), (4096, 2681), (2688, 7168), (2681, 7165),
                (1536, 576), (1087, 397) })
            {
                using var scope = NewDisposeScope();
                var weights = new Tensor[Math.Max(2, Memory / (outputs * width * type.ElementSize()))];
                for (int i = 0; i < weights.Length; i++)
                {
                    weights[i] = randn(outputs, width).to(type);
                }

                Tensor x = randn(rows, width).to(type);
                int next = 0;
                Tensor Weight() => weights[next = (next + 1) % weights.Length];
                Row(isFirst ? TextWriter.Null : output, $"| {rows} | {outputs:N0} x {width:N0} |", type,
                    Enumerable.Repeat(2.0 * rows * outputs * width, 2),
                    () => HostGemm.Apply(x, (Weight(), null)),
                    () => nn.functional.linear(x, Weight()));
                isFirst = false;
            }
        }

        output.WriteLine();
    }

    private static void Row(TextWriter output, string head, ScalarType type, IEnumerable<double> operations, params Action[] actions)
    {
        Tensor x = randn(512, 1024).to(type), weight = randn(1024, 1024).to(type);
        double[] speeds = Speeds([() => nn.functional.linear(x, weight), .. actions], [2.0 * 512 * 1024 * 1024, .. operations]);
        var shares = speeds.Skip(1).Select(speed => (speed / speeds[0]).ToString("F2", CultureInfo.InvariantCulture));
        output.WriteLine($"{head} {string.Join(" | ", shares)} |");
    }

    private static double[] Speeds(IReadOnlyList<Action> actions, IReadOnlyList<double> operations)
    {
        double[] seconds = [.. actions.Select(_ => double.PositiveInfinity)];
        int[] repetitions = [.. actions.Select(
            action => Math.Max(1, (int)(s_roundTime.TotalSeconds / Math.Min(Time(action, 1), Time(action, 1)))))];
        for (int round = 0; round < Rounds; round++)
        {
            for (int i = 0; i < actions.Count; i++)
            {
                seconds[i] = Math.Min(seconds[i], Time(actions[i], repetitions[i]));
            }
        }

        return [.. operations.Zip(seconds, (count, time) => count / time)];
    }

    /// <summary>The mean seconds of some repetitions.</summary>
    private static double Time(Action action, int repetitions)
    {
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < repetitions; i++)
        {
            using var scope = NewDisposeScope();
            action();
        }

        return Stopwatch.GetElapsedTime(start).TotalSeconds / repetitions;
    }
}
