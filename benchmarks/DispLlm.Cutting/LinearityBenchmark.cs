using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Cutting;

/// <summary>
/// A learning run to its plan, at a small shape and without scores to start from, with one of steps, tokens of a step and parameters growing. The straight line through the
/// times says whether the cost is linear: what lies off it is printed. The time is the processor's, on one thread: work beside it disturbs that least.
/// </summary>
internal sealed class LinearityBenchmark(Settings settings)
{
    private const int Window = 64;

    private static readonly int[] s_growth = [1, 2, 4, 8];

    public void Print(TextWriter output)
    {
        set_num_threads(1);
        Run(blocks: 2, steps: 2, windows: 1);
        Print(output, "steps", [.. s_growth.Select(n => Measure(5 * n, () => Run(blocks: 2, steps: 5 * n, windows: 1)))]);
        Print(output, "tokens of a step", [.. s_growth.Select(n => Measure(n * Window, () => Run(blocks: 2, steps: 5, windows: n)))]);
        Print(output, "parameters in blocks", [.. s_growth.Select(n => Measure(Parameters(2 * n), () => Run(blocks: 2 * n, steps: 5, windows: 1)))]);
    }

    /// <summary>The fastest of the repeats: what disturbs a run only makes it slower.</summary>
    private (double Size, double Seconds) Measure(double size, Func<double> run) =>
        (size, Enumerable.Range(0, settings.Repeats).Min(_ => run()));

    private static void Print(TextWriter output, string what, (double Size, double Seconds)[] points)
    {
        // Least squares, y = a + b x.
        double meanX = points.Average(p => p.Size), meanY = points.Average(p => p.Seconds);
        double slope = points.Sum(p => (p.Size - meanX) * (p.Seconds - meanY)) / points.Sum(p => (p.Size - meanX) * (p.Size - meanX));
        double start = meanY - (slope * meanX);
        double explained = 1 - (points.Sum(p => Math.Pow(p.Seconds - start - (slope * p.Size), 2)) / points.Sum(p => Math.Pow(p.Seconds - meanY, 2)));
        output.WriteLine($"| {what} | time / time of the first | the line / time of the first | off the line |");
        output.WriteLine("|---|---|---|---|");
        foreach (var (size, seconds) in points)
        {
            double line = start + (slope * size);
            output.WriteLine($"| {size:N0} | {seconds / points[0].Seconds:F2} | {line / points[0].Seconds:F2} | {(seconds / line) - 1:+0.0 %;-0.0 %} |");
        }

        output.WriteLine($"\nThe line explains {explained:P2} of the variance; {start / points[^1].Seconds:P1} of the last time does not grow.\n");
    }

    private static double Run(int blocks, int steps, int windows)
    {
        using var model = Model(blocks);
        var strategy = new HypernetworkSelection(new HypernetworkOptions { Steps = steps, SequenceLength = Window, BatchSize = windows, InitialScoreWeight = 0 });
        var request = new SelectionRequest
        {
            Model = model,
            Budget = PruningBudget.FromRatio(0.5),
            Calibration = TokenCorpus.FromTokens([.. Enumerable.Range(0, 64 * Window).Select(i => i * 7919 % model.Spec.VocabularySize)]),
        };
        var before = Process.GetCurrentProcess().TotalProcessorTime;
        strategy.SelectAsync(request).GetAwaiter().GetResult();
        return (Process.GetCurrentProcess().TotalProcessorTime - before).TotalSeconds;
    }

    private static double Parameters(int blocks)
    {
        using var model = PrunableModel.FromConfig(Config(blocks));
        return new ParameterCounter(model.Spec).Dense.BlockWeights;
    }

    private static PrunableModel Model(int blocks)
    {
        using var noGradient = no_grad();
        using var random = new RandomSource(0).Stream("benchmark");
        var model = PrunableModel.FromConfig(Config(blocks), TorchBackend.Cpu());
        foreach (var part in ParameterCatalog.Parameters(model.Spec))
        {
            using var scope = NewDisposeScope();
            model.Weight(part.Role, part.Block).copy_(random.Normal([.. part.Shape]) * 0.05);
        }

        return model;
    }

    private static ModelConfig Config(int blocks) => ModelConfig.Parse(
        $$"""
        {"model_type": "llama", "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": {{blocks}}, "num_attention_heads": 4,
         "vocab_size": 512, "max_position_embeddings": 256}
        """,
        "a small shape");
}
