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

    /// <summary>Rejects a plan that <see cref="FitAsync"/> would.</summary>
    public static void EnsurePossible(SelectionPlan plan)
    {
        if (plan.NormOrder != NormOrder.NormThenSelect)
        {
            throw new ToolException($"--reconstruct needs a plan of order {NormOrder.NormThenSelect}; this one's is {plan.NormOrder}.");
        }
    }

    /// <summary>The tokens of the sequences that are held out, of one to fit on, and of the random offset of the first.</summary>
    public static int GetMinimumTokens(int sequenceLength) => ((new ReconstructionOptions().HeldOutSequences + 2) * sequenceLength) - 1;

    public static Task<WeightReconstruction> FitAsync(
        PrunableModel model,
        SelectionPlan plan,
        TokenCorpus text,
        int sequenceLength,
        long seed,
        Terminal terminal,
        CancellationToken cancellationToken) =>
        terminal.ShowAsync("Reconstructing", display =>
        {
            var progress = new SynchronousProgress<PruningProgress>(block => display.Report(
                (double)block.Step / block.Steps,
                string.Create(CultureInfo.InvariantCulture, $"block {block.Step}/{block.Steps}  held-out loss {block.CrossEntropy:F3}")));
            var options = new ReconstructionOptions { SequenceLength = sequenceLength, Seed = seed };
            return WeightReconstruction.FitAsync(model, plan, text, options, progress, cancellationToken).GetAwaiter().GetResult();
        });
}
