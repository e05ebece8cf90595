using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>What the reconstruction did to one block. An immutable value.</summary>
/// <param name="Block">The block, from 0.</param>
/// <param name="Ridge">
/// The ridge that was taken; null where no correction lowered the held-out loss and the block was left as it was.
/// </param>
/// <param name="LossBefore">Held-out cross-entropy of the pruned model before, in nats a token.</param>
/// <param name="LossAfter">The same after; never above <paramref name="LossBefore"/>, unless nothing was held out.</param>
public sealed record BlockReconstruction(int Block, double? Ridge, double LossBefore, double LossAfter);

/// <summary>
/// Corrects the kept weights in closed form, so that they do part of what the removed ones did (docs/method.md, Weight reconstruction). The
/// kept inputs X of a weight are fitted by ridge regression, on calibration text, to what the weight is to compute:
/// <code>
/// W_K' = (Y^T X + r m W_K) (X^T X + r m I)^-1          m: mean of the diagonal of X^T X; r: the ridge
/// </code>
/// X is of the network as pruned and corrected so far; Y is of the dense network (<see cref="ReconstructionTarget"/>). One weight after the
/// other in the order of the data flow, block after block. A block whose correction does not lower the whole pruned network's loss on
/// held-out sequences is left as it was: after learning, correcting every block does great harm. Immutable but for <see cref="Dispose"/>,
/// which must not run while the weights are written.
/// </summary>
public sealed class WeightReconstruction : IDisposable
{
    // The sites whose features weights read, in the order of the data flow.
    private static readonly SelectionSite[] s_inputs =
        [SelectionSite.AttentionInput, SelectionSite.AttentionGroups, SelectionSite.MlpInput, SelectionSite.MlpHidden];

    private readonly Dictionary<(WeightRole Role, int Block), Tensor> _weights = [];

    private WeightReconstruction(SelectionPlan plan) => Plan = plan;

    /// <summary>The plan that the corrections belong to.</summary>
    public SelectionPlan Plan { get; }

    /// <summary>What was done to each block, in order.</summary>
    public IReadOnlyList<BlockReconstruction> Blocks { get; private set; } = [];

    /// <summary>
    /// Computes the corrections of a plan, off the caller's thread. The model is not changed: its block weights are copied, which takes as
    /// much memory again.
    /// </summary>
    /// <param name="model">The dense model.</param>
    /// <param name="plan">What is kept of it.</param>
    /// <param name="calibration">Text to fit on and to hold out. Never the text that the result is evaluated on.</param>
    /// <param name="options">How; null for defaults.</param>
    /// <param name="progress">
    /// Where every block is reported to, with the held-out loss after it as <see cref="PruningProgress.CrossEntropy"/>.
    /// </param>
    /// <param name="cancellationToken">Looked at between sequences.</param>
    /// <exception cref="CorpusException">The text is shorter than the sequences asked for.</exception>
    /// <exception cref="ModelAlreadyPrunedException">The model is pruned already.</exception>
    /// <exception cref="SelectionException">
    /// The plan is not for this model, or selects before the norm: there what is removed cannot be predicted from what is kept.
    /// </exception>
    public static async Task<WeightReconstruction> FitAsync(
        PrunableModel model,
        SelectionPlan plan,
        TokenCorpus calibration,
        ReconstructionOptions? options = null,
        IProgress<PruningProgress>? progress = null,
        CancellationToken cancellationToken = default) =>
        await Task.Run(() => Fit(model, plan, calibration, options, progress, cancellationToken), cancellationToken).ConfigureAwait(false);

    internal static WeightReconstruction Fit(
        PrunableModel model,
        SelectionPlan plan,
        TokenCorpus calibration,
        ReconstructionOptions? options = null,
        IProgress<PruningProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(calibration);
        options ??= new ReconstructionOptions();
        options.Validate();
        ModelAlreadyPrunedException.ThrowIfPruned(model);
        plan.Validate(model.Spec);
        if (plan.NormOrder != NormOrder.NormThenSelect)
        {
            throw new SelectionException(
                $"Reconstruction needs a plan of order {NormOrder.NormThenSelect}; this one's is {plan.NormOrder}.");
        }

        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        var sequences = Sequences(model, calibration, options, cancellationToken);
        using var copy = model.CopyBlocks();
        var reconstruction = new WeightReconstruction(plan);
        var clock = Stopwatch.StartNew();
        try
        {
            using var network = new GatedNetwork(copy, plan, sequences, options);
            var blocks = new List<BlockReconstruction>();
            double loss = network.HeldOutLoss(0, cancellationToken);
            for (int block = 0; block < copy.Spec.NumLayers; block++)
            {
                using var blockScope = NewDisposeScope();
                var report = reconstruction.Correct(network, block, loss, options, cancellationToken);
                network.Advance(block, cancellationToken);
                loss = report.LossAfter;
                blocks.Add(report);
                var step = new PruningProgress(PruningPhase.Reconstructing, block + 1, copy.Spec.NumLayers, clock.Elapsed);
                progress?.Report(step with { CrossEntropy = loss });
            }

            reconstruction.Blocks = blocks;
            return reconstruction;
        }
        catch
        {
            reconstruction.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var weight in _weights.Values)
        {
            weight.Dispose();
        }

        _weights.Clear();
    }

    /// <summary>Refuses another plan than its own.</summary>
    internal void EnsureFor(SelectionPlan plan)
    {
        if (!Plan.Equals(plan))
        {
            throw new ArgumentException("The reconstruction is for another plan: its weights do not fit what this one keeps.",
                nameof(plan));
        }
    }

    /// <summary>The corrected weight in its pruned shape, float32 on the CPU; null where the weight is not corrected.</summary>
    internal Tensor? Weight(WeightRole role, int block) => _weights.GetValueOrDefault((role, block));

    private BlockReconstruction Correct(GatedNetwork network, int block, double before, ReconstructionOptions options,
        CancellationToken cancellation)
    {
        network.TraceDense(block, cancellation);
        var dense = network.ReadersAndWriters(block);
        network.FoldScales(block);
        network.Enter(block);

        // Up to the first removed index both networks compute the same: there is nothing to correct.
        if (Plan.Blocks.Take(block + 1).All(KeepsAll))
        {
            return new BlockReconstruction(block, null, before, before);
        }

        var old = network.ReadersAndWriters(block);
        foreach (double ridge in options.Ridges)
        {
            var corrected = Corrected(network, block, dense, old, ridge, cancellation);
            double loss = network.HeldOutLoss(block, cancellation);
            if (loss < before || options.HeldOutSequences == 0)
            {
                foreach (var (role, weight) in corrected)
                {
                    _weights[(role, block)] = Prune(weight, role, block).DetachFromDisposeScope();
                }

                return new BlockReconstruction(block, ridge, before, loss);
            }

            network.Replace(block, old);
            network.Enter(block);
        }

        return new BlockReconstruction(block, null, before, before);
    }

    /// <summary>
    /// Corrects one weight after the other in the order of the data flow, so that each is fitted to the output of those before it, and
    /// leaves them in the network.
    /// </summary>
    private Dictionary<WeightRole, Tensor> Corrected(
        GatedNetwork network,
        int block,
        IReadOnlyDictionary<WeightRole, Tensor> dense,
        IReadOnlyDictionary<WeightRole, Tensor> old,
        double ridge,
        CancellationToken cancellation)
    {
        var corrected = new Dictionary<WeightRole, Tensor>(old);
        foreach (var site in s_inputs)
        {
            if (site != s_inputs[0])
            {
                network.Step(cancellation);
            }

            // Of all weights that read at a site only attention's output projection reads heads.
            int[] kept = [.. Plan.Model.Expand(site, WeightRole.AttentionOutput, Plan.Blocks[block][site])];
            if (kept.Length == 0)
            {
                continue;
            }

            if (network.Target == ReconstructionTarget.PrunedActivations && kept.Length == network.InputSize(block, site))
            {
                continue;
            }

            using var scope = NewDisposeScope();
            Tensor keep = Index(kept, network.GetDevice(block));
            var (moments, wanted) = network.Fit(block, site, keep, dense, cancellation);
            foreach (var (role, output) in wanted)
            {
                corrected[role] = Regression(old[role], moments, output, keep, ridge).MoveToOuterDisposeScope();
            }

            network.Replace(block, corrected);
        }

        return corrected;
    }

    /// <summary>
    /// The ridge regression of the wanted outputs on the kept inputs, with the old weights as the prior:
    /// <c>W_K' = (Y^T X_K + r m W_K) (X_K^T X_K + r m I)^-1</c>, m the mean of the diagonal.
    /// </summary>
    private static Tensor Regression(Tensor weight, Tensor moments, Tensor wanted, Tensor keep, double ridge)
    {
        using var scope = NewDisposeScope();
        Tensor square = moments.to(ScalarType.Float64);
        Tensor damp = square.diagonal().mean().MulScalar(ridge);
        Tensor right = wanted.to(ScalarType.Float64).Add(weight.index_select(1, keep).to(ScalarType.Float64) * damp);
        Tensor damped = square.Add(eye(square.shape[0], dtype: ScalarType.Float64, device: weight.device) * damp);
        return weight.index_copy(1, keep, linalg.solve(damped, right.t()).t().to(ScalarType.Float32)).MoveToOuterDisposeScope();
    }

    private bool KeepsAll(BlockSelection selection) => SelectionSites.All.All(site => selection[site].Count == Plan.Model.SiteSize(site));

    private Tensor Prune(Tensor weight, WeightRole role, int block)
    {
        using var scope = NewDisposeScope();
        var parameter = new ParameterDescriptor(role, block, IsBias: false, weight.shape);
        Tensor kept = Plan.KeptColumns(parameter) is { } columns ? weight.index_select(1, Index(columns, weight.device)) : weight;
        kept = Plan.KeptRows(parameter) is { } rows ? kept.index_select(0, Index(rows, weight.device)) : kept;
        return kept.to(CPU, copy: true).MoveToOuterDisposeScope();
    }

    private static Tensor Index(IReadOnlyList<int> indices, Device device) =>
        tensor(indices.Select(index => (long)index).ToArray(), ScalarType.Int64).to(device);

    private static Tensor[] Sequences(PrunableModel model, TokenCorpus calibration, ReconstructionOptions options,
        CancellationToken cancellation)
    {
        int[] tokens = calibration.Tokenize(CorpusContext.For(model), cancellation);
        int length = options.SequenceLength ?? CalibrationSampler.DefaultLength(model.Spec);
        var sequences = new SequenceSampler(tokens, length, 1, model.Backend.Random(options.Seed));
        int fitted = options.CountFitted(sequences.SequencesPerEpoch, length), count = fitted + options.HeldOutSequences;
        if (sequences.SequencesPerEpoch < count)
        {
            throw new CorpusException(
                $"The text has {sequences.SequencesPerEpoch} sequences of {length} tokens, but the reconstruction fits on {fitted} and "
                    + $"holds out {options.HeldOutSequences} others. "
                + "Give more text, shorter sequences or fewer of them.");
        }

        return [.. Enumerable.Range(0, count).Select(i => sequences.Batch(i))];
    }
}
