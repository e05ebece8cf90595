using System.CommandLine;
using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Whether the weights that stay take over part of what was dropped.</summary>
internal sealed class ReconstructionOption
{
    public Option<bool> Wanted { get; } = new("--compensate")
    {
        Description = "Let the weights that stay take over part of what the dropped ones did: no learning, and block by block only where it helps",
    };

    public void AddTo(Command command) => command.Options.Add(Wanted);

    public static Task<WeightReconstruction> FindAsync(
        IPrunableModel model, SelectionPlan plan, TokenCorpus text, int window, long seed, Terminal terminal, CancellationToken cancellation) =>
        terminal.ShowAsync("Compensating", stage =>
        {
            var told = new Told<BlockReconstruction>(block => stage.Report(
                (block.Block + 1.0) / model.Spec.NumLayers,
                string.Create(CultureInfo.InvariantCulture, $"block {block.Block + 1}/{model.Spec.NumLayers}  held-out loss {block.LossAfter:F3}")));
            return WeightReconstruction.Fit(model, plan, text, new ReconstructionOptions { SequenceLength = window, Seed = seed }, told, cancellation);
        });
}
