using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Cutting;

/// <summary>
/// The time of a training run on a small model without initial scores, with a growing number of steps, tokens per step or parameters.
/// Deviations from a straight line show whether the cost is linear. Processor time on one thread is measured, which other work disturbs
/// least.
/// </summary>
internal sealed class LinearityBenchmark(Settings settings)
{
    private const int Length = 64;

    private static readonly int[] s_growth = [1, 2, 4, 8];

    public void Print(TextWriter output)
    {
        set_num_threads(1);
        Run(blocks: 2, steps: 2, batch: 1);
        Print(output, "steps", [.. s_growth.Select(n => Measure(5 * n, () => Run(blocks: 2, steps: 5 * n, batch: 1)))]);
        Print(output, "tokens of a step", [.. s_growth.Select(n => Measure(n * Length, () => Run(blocks: 2, steps: 5, batch: n)))]);
        Print(
            output, "parameters in blocks",
            [.. s_growth.Select(n => Measure(Parameters(2 * n), () => Run(blocks: 2 * n, steps: 5, batch: 1)))]);
    }

    /// <summary>The fastest of the repeats: disturbances only make a run slower.</summary>
    private (double Size, double Seconds) Measure(double size, Func<double> run) =>
        (size, Enumerable.Range(0, settings.Repeats).Min(_ => run()));

    private static void Print(TextWriter output, string what, (double Size, double Seconds)[] points)
    {
        // Least squares, y = a + b x.
        double meanX = points.Average(p => p.Size), meanY = points.Average(p => p.Seconds);
        double slope = points.Sum(p => (p.Size - meanX) * (p.Seconds - meanY)) / points.Sum(p => (p.Size - meanX) * (p.Size - meanX));
        double start = meanY - (slope * meanX);
        double explained =
            1 - (points.Sum(p => Math.Pow(p.Seconds - start - (slope * p.Size), 2)) / points.Sum(p => Math.Pow(p.Seconds - meanY, 2)));
        output.WriteLine($"| {what} | time / time of the first | the line / time of the first | off the line |");
        output.WriteLine("|---|---|---|---|");
        foreach (var (size, seconds) in points)
        {
            double line = start + (slope * size);
            output.WriteLine(
                $"| {size:N0} | {seconds / points[0].Seconds:F2} | {line / points[0].Seconds:F2} | {(seconds / line) - 1:+0.0 %;-0.0 %} |");
        }

        output.WriteLine(
            $"\nThe line explains {explained:P2} of the variance; {start / points[^1].Seconds:P1} of the last time is constant.\n");
    }

    private static double Run(int blocks, int steps, int batch)
    {
        using var model = Model(blocks);
        var strategy = new HypernetworkSelection(
            new HypernetworkOptions { Steps = steps, SequenceLength = Length, BatchSize = batch, InitialScoreWeight = 0 });
        var request = new SelectionRequest
        {
            Model = model,
            Budget = PruningBudget.FromRatio(0.5),
            Calibration = TokenCorpus.FromTokens([.. Enumerable.Range(0, 64 * Length).Select(i => i * 7919 % model.Spec.VocabularySize)]),
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
