using System.CommandLine;
using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Whether the kept weights are reconstructed.</summary>
internal sealed class ReconstructionOption
{
    public Option<bool> Enabled { get; } = new("--reconstruct")
    {
        Description = "Fit the kept weights to the outputs of the dense model, block by block and only where it helps; needs no training",
    };

    public void AddTo(Command command) => command.Options.Add(Enabled);

    public static Task<WeightReconstruction> FitAsync(
        IPrunableModel model,
        SelectionPlan plan,
        TokenCorpus text,
        int sequenceLength,
        long seed,
        Terminal terminal,
        CancellationToken cancellationToken) =>
        terminal.ShowAsync("Reconstructing", display =>
        {
            var progress = new SynchronousProgress<BlockReconstruction>(block => display.Report(
                (block.Block + 1.0) / model.Spec.NumLayers,
                string.Create(
                    CultureInfo.InvariantCulture, $"block {block.Block + 1}/{model.Spec.NumLayers}  held-out loss {block.LossAfter:F3}")));
            var options = new ReconstructionOptions { SequenceLength = sequenceLength, Seed = seed };
            return WeightReconstruction.Fit(model, plan, text, options, progress, cancellationToken);
        });
}
