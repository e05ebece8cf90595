using System.Diagnostics;
using Microsoft.Extensions.Logging;
using TorchSharp;

namespace DispLlm.Training;

/// <summary>Runs step after step until the last one: reports each, saves the run, and warns where a site of gates collapses.</summary>
internal sealed class TrainingLoop(HypernetworkTrainer trainer, int steps, RunStore? store, IProgress<PruningProgress>? progress,
    ILogger logger)
{
    private readonly HashSet<GateRange> _collapsed = [];

    public IReadOnlyList<PruningProgress> Run(SequenceSampler sequences, IReadOnlyList<PruningProgress> before,
        CancellationToken cancellation)
    {
        var history = new List<PruningProgress>(before);
        long tokens = before.Count > 0 ? before[^1].Tokens : 0;
        var earlier = before.Count > 0 ? before[^1].Elapsed : TimeSpan.Zero;
        var clock = Stopwatch.StartNew();
        try
        {
            while (trainer.StepsDone < steps)
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = torch.NewDisposeScope();
                var losses = trainer.Step(sequences, cancellation);
                tokens += losses.Tokens;
                var report = new PruningProgress(PruningPhase.Learning, trainer.StepsDone, steps, earlier + clock.Elapsed)
                {
                    CrossEntropy = losses.CrossEntropy,
                    BudgetLoss = losses.BudgetLoss,
                    KeptFraction = losses.KeptParameters / trainer.DenseParameters,
                    GradientNorm = losses.GradientNorm,
                    Tokens = tokens,
                    CollapsedSites = losses.CollapsedSites,
                };
                history.Add(report);
                WarnIfCollapsed(report);
                store?.After(report, trainer);
                progress?.Report(report);
            }
        }
        catch (OperationCanceledException)
        {
            store?.Save(trainer);
            throw;
        }

        return history;
    }

    private void WarnIfCollapsed(PruningProgress report)
    {
        foreach (var site in report.CollapsedSites.Where(_collapsed.Add))
        {
            logger.LogWarning(
                "Step {Step}: every gate of {Site} is closed. The pruned model keeps at least one index there; if this lasts, the budget "
                    + "is too small or the learning rate too large",
                report.Step,
                site);
        }
    }
}
