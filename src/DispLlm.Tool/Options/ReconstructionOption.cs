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
        PrunableModel model, SelectionPlan plan, TokenCorpus text, int window, long seed, Terminal terminal, CancellationToken cancellation) =>
        terminal.ShowAsync("Compensating", stage =>
        {
            var told = new Told<PruningProgress>(block => stage.Report(
                (double)block.Step / block.Steps,
                string.Create(CultureInfo.InvariantCulture, $"block {block.Step}/{block.Steps}  held-out loss {block.CrossEntropy:F3}")));
            var options = new ReconstructionOptions { SequenceLength = window, Seed = seed };
            return WeightReconstruction.FitAsync(model, plan, text, options, told, cancellation).GetAwaiter().GetResult();
        });
}
