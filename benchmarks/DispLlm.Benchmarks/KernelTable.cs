using System.Diagnostics;
using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Benchmarks;

/// <summary>
/// What the CPU's kernels reach beside the framework's: the speed of each way as a share of a plain product's of 512 rows, all ways in turns, the fastest turn of each.
/// </summary>
internal static class KernelTable
{
    private const int Rounds = 7;

    private static readonly TimeSpan s_turn = TimeSpan.FromMilliseconds(50);

    public static void Print(TextWriter output)
    {
        using var noGradient = no_grad();
        output.WriteLine($"{get_num_threads()} threads. Operations a second, as a share of a plain product's.\n");
        foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            Attention(output, type);
            Rows(output, type);
        }
    }

    /// <summary>Causal attention, of which the half in front of the diagonal counts: forward, and with its way back, which has twice as many products.</summary>
    private static void Attention(TextWriter output, ScalarType type)
    {
        output.WriteLine($"Causal attention, {type}:\n");
        output.WriteLine("| heads / key-value heads x size | positions | in vector code | in plain products | the framework's operator | and back: in vector code | in plain products |");
        output.WriteLine("|---|---|---|---|---|---|---|");
        foreach (var (heads, groups, size) in new[] { (9L, 3L, 64L), (32, 8, 128), (32, 32, 128) })
        {
            foreach (long positions in new[] { 512L, 2048 })
            {
                using var scope = NewDisposeScope();
                double forward = 2.0 * heads * size * positions * (positions + 1);
                Tensor Heads(long count) => randn(1, positions, count, size).to(type).transpose(1, 2);
                Tensor query = Heads(heads), key = Heads(groups), value = Heads(groups), returned = Heads(heads);
                Tensor[] leaves = [.. new[] { query, key, value }.Select(x => x.detach().requires_grad_())];
                void Back(Func<Tensor, Tensor, Tensor, Tensor> way)
                {
                    using var gradient = enable_grad();
                    way(leaves[0], leaves[1], leaves[2]).backward([returned]);
                }

                Row(output, $"| {heads} / {groups} x {size} | {positions:N0} |", type, [forward, forward, forward, 3 * forward, 3 * forward],
                    () => TiledAttention.Apply(query, key, value),
                    () => MatmulAttentionFunction.Apply(query, key, value),
                    () => nn.functional.scaled_dot_product_attention(
                        query, key.repeat_interleave(heads / groups, dim: 1), value.repeat_interleave(heads / groups, dim: 1), is_casual: true),
                    () => Back(TiledAttentionFunction.Apply),
                    () => Back(MatmulAttentionFunction.Apply));
            }
        }

        output.WriteLine();
    }

    /// <summary>Some rows by weights that come from memory: enough of them that no cache holds them.</summary>
    private static void Rows(TextWriter output, ScalarType type)
    {
        const long Memory = 200_000_000;
        output.WriteLine($"Products of some rows, {type}:\n\n| rows | weight | in vector code | with the weight on the left | the framework's operator |\n|---|---|---|---|---|");
        foreach (long rows in new[] { 1L, 2, 4, 16, 64, 512 })
        {
            // The first is printed the second time: the runtime has compiled by then what is measured.
            bool isFirst = true;
            foreach (var (outputs, width) in new[] { (4096L, 4096L), (4096, 4096), (4096, 2688), (4096, 2681), (2688, 7168), (2681, 7165), (1536, 576), (1087, 397) })
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
                Row(isFirst ? TextWriter.Null : output, $"| {rows} | {outputs:N0} x {width:N0} |", type, Enumerable.Repeat(2.0 * rows * outputs * width, 3),
                    () => HostGemm.Apply(x, (Weight(), null)),
                    () => WeightFirstProduct.Linear(x, Weight(), null),
                    () => nn.functional.linear(x, Weight()));
                isFirst = false;
            }
        }

        output.WriteLine();
    }

    private static void Row(TextWriter output, string head, ScalarType type, IEnumerable<double> operations, params Action[] ways)
    {
        Tensor x = randn(512, 1024).to(type), weight = randn(1024, 1024).to(type);
        double[] speeds = Speeds([() => nn.functional.linear(x, weight), .. ways], [2.0 * 512 * 1024 * 1024, .. operations]);
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{head} {string.Join(" | ", speeds.Skip(1).Select(speed => (speed / speeds[0]).ToString("F2", CultureInfo.InvariantCulture)))} |"));
    }

    private static double[] Speeds(IReadOnlyList<Action> ways, IReadOnlyList<double> operations)
    {
        double[] seconds = [.. ways.Select(_ => double.PositiveInfinity)];
        int[] repetitions = [.. ways.Select(way => Math.Max(1, (int)(s_turn.TotalSeconds / Math.Min(Time(way, 1), Time(way, 1)))))];
        for (int round = 0; round < Rounds; round++)
        {
            for (int i = 0; i < ways.Count; i++)
            {
                seconds[i] = Math.Min(seconds[i], Time(ways[i], repetitions[i]));
            }
        }

        return [.. operations.Zip(seconds, (count, time) => count / time)];
    }

    /// <summary>Seconds of one of several repetitions.</summary>
    private static double Time(Action way, int repetitions)
    {
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < repetitions; i++)
        {
            using var scope = NewDisposeScope();
            way();
        }

        return Stopwatch.GetElapsedTime(start).TotalSeconds / repetitions;
    }
}
