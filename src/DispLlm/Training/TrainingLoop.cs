using System.Diagnostics;
using Microsoft.Extensions.Logging;
using TorchSharp;

namespace DispLlm.Training;

/// <summary>Step after step until the last one: tells of each, keeps the run's folder, and says where a site of gates collapses.</summary>
internal sealed class TrainingLoop(HypernetworkTrainer trainer, int steps, RunStore? folder, IProgress<SelectionProgress>? progress, ILogger logger)
{
    private readonly HashSet<GateRange> _collapsed = [];

    public IReadOnlyList<SelectionProgress> Run(SequenceSampler windows, IReadOnlyList<SelectionProgress> before, CancellationToken cancellation)
    {
        var history = new List<SelectionProgress>(before);
        long tokens = before.Count > 0 ? before[^1].Tokens : 0;
        var earlier = before.Count > 0 ? before[^1].Elapsed : TimeSpan.Zero;
        var clock = Stopwatch.StartNew();
        try
        {
            while (trainer.StepsDone < steps)
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = torch.NewDisposeScope();
                var losses = trainer.Step(windows, cancellation);
                tokens += losses.Tokens;
                var report = new SelectionProgress(
                    trainer.StepsDone,
                    steps,
                    losses.CrossEntropy,
                    losses.BudgetLoss,
                    losses.KeptParameters / trainer.DenseParameters,
                    losses.GradientNorm,
                    tokens,
                    earlier + clock.Elapsed) { CollapsedSites = losses.CollapsedSites };
                history.Add(report);
                WarnOfCollapse(report);
                folder?.After(report, trainer);
                progress?.Report(report);
            }
        }
        catch (OperationCanceledException)
        {
            folder?.Save(trainer);
            throw;
        }

        return history;
    }

    private void WarnOfCollapse(SelectionProgress report)
    {
        foreach (var site in report.CollapsedSites.Where(_collapsed.Add))
        {
            logger.LogWarning(
                "Step {Step}: every gate of {Site} is closed. The cut keeps at least one index there; if it stays so, the budget is too small or the learning rate too large",
                report.Step,
                site);
        }
    }
}
