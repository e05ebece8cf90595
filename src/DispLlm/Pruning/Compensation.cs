using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>How weights are corrected after a selection.</summary>
public sealed record CompensationOptions
{
    /// <summary>Windows of text that the corrections are fitted on. Default 32; at least 1.</summary>
    public int Windows { get; init; } = 32;

    /// <summary>Further windows on which each block's correction has to prove itself. Default 8; at least 1.</summary>
    public int HeldOutWindows { get; init; } = 8;

    /// <summary>Window length in tokens. Default: 2,048 or what the model was made for, whichever is less. At least 2.</summary>
    public int? WindowLength { get; init; }

    /// <summary>
    /// Ridges to try, as shares of the mean of the covariance's diagonal: a larger one stays closer to the old weights. Default 0.01, 0.1 and 1; each above 0.
    /// </summary>
    public IReadOnlyList<double> Ridges { get; init; } = [0.01, 0.1, 1];

    /// <summary>Seed of the order of the windows. Default 0.</summary>
    public long Seed { get; init; }

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Windows, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(HeldOutWindows, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(WindowLength ?? 2, 2, nameof(WindowLength));
        ArgumentOutOfRangeException.ThrowIfZero(Ridges.Count, nameof(Ridges));
        foreach (double ridge in Ridges)
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(ridge, nameof(Ridges));
        }
    }
}

/// <summary>What the compensation did to one block.</summary>
/// <param name="Block">The block, from 0.</param>
/// <param name="Ridge">The ridge that was taken; null where no correction lowered the held-out loss and the block stayed as it was.</param>
/// <param name="LossBefore">Held-out cross-entropy of the pruned model before, in nats a token.</param>
/// <param name="LossAfter">The same after; never above <paramref name="LossBefore"/>.</param>
public sealed record BlockCompensation(int Block, double? Ridge, double LossBefore, double LossAfter);

/// <summary>
/// Corrects the weights that stay, in closed form, so that they do part of what the dropped ones did. Where a site keeps the inputs K of a weight W and drops D,
/// the kept inputs predict the dropped ones by a ridge regression on calibration text, and what they predict is folded into the weight:
/// <code>
/// W_K' = W_K + W_D C_DK (C_KK + r mean(diag C_KK) I)^-1          C: second moments of the weight's inputs in the network as cut so far
/// </code>
/// Block after block, each with the ridge that lowers the whole pruned network's held-out loss most; a block in which none does stays as it was. That makes
/// it safe after learning, where correcting every block did great harm (method, section 8).
/// </summary>
public sealed class Compensation : IDisposable
{
    private readonly Dictionary<(WeightRole Role, int Block), Tensor> _weights = [];

    private Compensation(SelectionPlan plan) => Plan = plan;

    /// <summary>The plan that the corrections belong to.</summary>
    public SelectionPlan Plan { get; }

    /// <summary>What was done to each block, in order.</summary>
    public IReadOnlyList<BlockCompensation> Blocks { get; private set; } = [];

    /// <summary>Finds the corrections of a plan. The model is not changed: its checkpoint is loaded a second time.</summary>
    /// <param name="model">The dense model.</param>
    /// <param name="plan">What is kept of it.</param>
    /// <param name="calibration">Text to fit on and to judge by. Never the text that the result is judged by.</param>
    /// <param name="options">How; null for defaults.</param>
    /// <param name="progress">Told of every block.</param>
    /// <param name="cancellationToken">Looked at between windows.</param>
    /// <exception cref="CorpusException">The text is shorter than the windows asked for.</exception>
    /// <exception cref="SelectionException">
    /// The plan is not for this model, or selects before the norm: there what is dropped cannot be predicted from what is kept.
    /// </exception>
    public static Compensation Of(
        IPrunableModel model,
        SelectionPlan plan,
        TokenCorpus calibration,
        CompensationOptions? options = null,
        IProgress<BlockCompensation>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(plan);
        ArgumentNullException.ThrowIfNull(calibration);
        options ??= new CompensationOptions();
        options.Validate();
        plan.Validate(model.Spec);
        if (plan.NormOrder != NormOrder.NormThenSelect)
        {
            throw new SelectionException($"Compensation needs a plan of order {NormOrder.NormThenSelect}; this one's is {plan.NormOrder}.");
        }

        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        var windows = Windows(model, calibration, options, cancellationToken);
        var families = ModelFamilies.BuiltIn.Named(model.Family.Name) is null ? ModelFamilies.BuiltIn.With(model.Family) : ModelFamilies.BuiltIn;
        using var copy = PrunableModel.Load(model.Folder, model.Backend, new LoadOptions { Families = families }, cancellationToken);
        var compensation = new Compensation(plan);
        try
        {
            using var network = new GatedNetwork(copy, plan, windows, options);
            var blocks = new List<BlockCompensation>();
            double loss = network.HeldOutLoss(0, cancellationToken);
            for (int block = 0; block < copy.Spec.Blocks; block++)
            {
                using var step = NewDisposeScope();
                var report = compensation.Correct(network, block, loss, options, cancellationToken);
                network.Advance(block, cancellationToken);
                loss = report.LossAfter;
                blocks.Add(report);
                progress?.Report(report);
            }

            compensation.Blocks = blocks;
            return compensation;
        }
        catch
        {
            compensation.Dispose();
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

    /// <summary>The corrected weight in its cut shape, float32 on the CPU; null where the weight stays as it is in the checkpoint.</summary>
    internal Tensor? Weight(WeightRole role, int block) => _weights.GetValueOrDefault((role, block));

    private BlockCompensation Correct(GatedNetwork network, int block, double before, CompensationOptions options, CancellationToken cancellation)
    {
        var moments = network.SecondMoments(block, cancellation);
        var selection = Plan.Blocks[block];
        var old = WeightCatalog.OfBlock(network.Spec, block)
            .Where(part => !part.IsBias && WeightCuts.Of(part.Role).Columns is { } site && selection[site].Count < Plan.Model.SizeOf(site))
            .ToDictionary(part => part.Role, part => network.Weight(part.Role, block).to(ScalarType.Float32, copy: true));
        double best = before;
        double? chosen = null;
        var corrected = old;
        foreach (double ridge in options.Ridges)
        {
            var candidate = old.ToDictionary(
                entry => entry.Key,
                entry => Corrected(entry.Value, moments[WeightCuts.Of(entry.Key).Columns!.Value], selection[WeightCuts.Of(entry.Key).Columns!.Value], ridge));
            network.Replace(block, candidate);
            double loss = network.HeldOutLoss(block, cancellation);
            if (loss < best)
            {
                (best, chosen, corrected) = (loss, ridge, candidate);
            }
        }

        network.Replace(block, corrected);
        if (chosen is not null)
        {
            foreach (var (role, weight) in corrected)
            {
                _weights[(role, block)] = Cut(weight, role, selection).DetachFromDisposeScope();
            }
        }

        return new BlockCompensation(block, chosen, before, best);
    }

    private static Tensor Corrected(Tensor weight, Tensor moments, IReadOnlyList<int> kept, double ridge)
    {
        using var scope = NewDisposeScope();
        Tensor keep = Index(kept, weight.device), drop = Index([.. Enumerable.Range(0, (int)weight.shape[1]).Except(kept)], weight.device);
        Tensor keepRows = moments.index_select(0, keep);
        Tensor square = keepRows.index_select(1, keep).to(ScalarType.Float64), cross = keepRows.index_select(1, drop).to(ScalarType.Float64);
        Tensor damped = square + eye(kept.Count, dtype: ScalarType.Float64, device: weight.device) * (square.diagonal().mean() * ridge);
        Tensor predicted = linalg.solve(damped, cross);    // [kept, dropped]: how each kept input foretells the dropped ones
        Tensor added = weight.index_select(1, drop).to(ScalarType.Float64).mm(predicted.t());
        Tensor result = weight.clone();
        result.index_add_(1, keep, added.to(ScalarType.Float32), 1);
        return result.MoveToOuterDisposeScope();
    }

    private static Tensor Cut(Tensor weight, WeightRole role, BlockSelection selection)
    {
        using var scope = NewDisposeScope();
        var cuts = WeightCuts.Of(role);
        Tensor cut = weight.index_select(1, Index(selection[cuts.Columns!.Value], weight.device));
        cut = cuts.Rows is { } rows ? cut.index_select(0, Index(selection[rows], weight.device)) : cut;
        return cut.to(CPU, copy: true).MoveToOuterDisposeScope();
    }

    private static Tensor Index(IReadOnlyList<int> indices, Device device) =>
        tensor(indices.Select(index => (long)index).ToArray(), ScalarType.Int64).to(device);

    private static Tensor[] Windows(IPrunableModel model, TokenCorpus calibration, CompensationOptions options, CancellationToken cancellation)
    {
        int[] tokens = calibration.Resolve(CorpusContext.For(model), cancellation);
        int length = options.WindowLength ?? CalibrationWindows.DefaultLength(model.Spec);
        var windows = new TokenWindows(tokens, length, 1, model.Backend.Random(options.Seed));
        int count = options.Windows + options.HeldOutWindows;
        if (windows.WindowsPerEpoch < count)
        {
            throw new CorpusException(
                $"The text has {windows.WindowsPerEpoch} windows of {length} tokens, but the compensation fits on {options.Windows} and proves itself on {options.HeldOutWindows} others. "
                + "Give more text, shorter windows or fewer of them.");
        }

        return [.. Enumerable.Range(0, count).Select(i => windows.Batch(i))];
    }
}
