using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>
/// What an exporter reads: a checkpoint folder, dense or pruned, its spec, its plan, and its parameters as the decoder takes them: apart,
/// <c>[out, in]</c>, with the features of rotated pairs half the rotated features apart. Thread-safe.
/// </summary>
internal sealed class CheckpointSource : IDisposable
{
    private readonly Dictionary<(WeightRole Role, int Block, bool IsBias), List<StoredPart>> _parts = [];

    private CheckpointSource(CheckpointFolder folder, CheckpointDescription description)
    {
        Folder = folder;
        (DenseConfig, Family, Spec, Plan, var tensors) = description;
        description.CheckTensors(folder);
        foreach (var tensor in tensors)
        {
            for (int index = 0; index < tensor.Parts.Count; index++)
            {
                var parameter = tensor.Parts[index].Parameter;
                var key = (parameter.Role, parameter.Block, parameter.IsBias);
                if (!_parts.TryGetValue(key, out var stored))
                {
                    _parts.Add(key, stored = []);
                }

                stored.Add(new StoredPart(tensor, index));
            }
        }
    }

    /// <summary>The checkpoint folder.</summary>
    public CheckpointFolder Folder { get; }

    /// <summary>The configuration of the dense model.</summary>
    public ModelConfig DenseConfig { get; }

    /// <summary>The family of the model.</summary>
    public IModelFamily Family { get; }

    /// <summary>The spec of the dense model.</summary>
    public DecoderSpec Spec { get; }

    /// <summary>What is kept; null for a dense checkpoint.</summary>
    public SelectionPlan? Plan { get; }

    /// <summary>Features of the residual stream: fewer than the spec's where the plan selects once for the whole model.</summary>
    public int StreamSize => Plan?.Stream?.Count ?? Spec.HiddenSize;

    /// <summary>Opens a folder and checks that plan, configuration and tensors belong together.</summary>
    /// <param name="folder">The checkpoint folder.</param>
    /// <param name="families">The families that it may belong to.</param>
    /// <exception cref="DispLlmException">The folder is damaged or contradicts itself, or its family is not known.</exception>
    public static CheckpointSource Open(string folder, ModelFamilies families)
    {
        NativeTorch.EnsureLoaded();
        var opened = CheckpointFolder.Open(folder);
        try
        {
            return new CheckpointSource(opened, CheckpointDescription.Read(opened, families));
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    /// <summary>The type of most weights: that of the token embedding.</summary>
    public ScalarType WeightType => Folder.WeightInfo(_parts[(WeightRole.TokenEmbedding, -1, false)][0].Tensor.Name).Type;

    /// <summary>Query heads of a block.</summary>
    public int Heads(int block) => KeyValueHeads(block) * (Spec.NumAttentionHeads / Spec.NumKeyValueHeads);

    /// <summary>Key-value heads of a block; 0 where it has no attention.</summary>
    public int KeyValueHeads(int block) => Plan?.Blocks[block].AttentionGroups.Count ?? Spec.NumKeyValueHeads;

    /// <summary>Hidden features of a block's MLP.</summary>
    public int MlpWidth(int block) => Plan?.Blocks[block].MlpHidden.Count ?? Spec.IntermediateSize;

    /// <summary>
    /// The features of the stream that a site of a block reads or writes, ascending; null where it has all that there are, and so no index
    /// operation.
    /// </summary>
    /// <param name="site">S1, S2, S3 or S5.</param>
    /// <param name="block">The block's index from 0.</param>
    public IReadOnlyList<int>? Kept(SelectionSite site, int block) =>
        Plan is { } plan && PrunedFormat.IndexedSites(plan, block).Contains(site) ? plan.Blocks[block][site] : null;

    /// <summary>Whether the checkpoint holds a parameter.</summary>
    public bool Has(WeightRole role, int block, bool isBias = false) => _parts.ContainsKey((role, block, isBias));

    /// <summary>
    /// Reads a parameter as it is left, in float32: <c>[rows, columns]</c>, or <c>[features]</c> for a norm or a bias. A norm has the
    /// offset of its family added (<see cref="DecoderSpec.NormWeightOffset"/>).
    /// </summary>
    /// <param name="role">What it does.</param>
    /// <param name="block">The block's index from 0; -1 outside blocks.</param>
    /// <param name="isBias">Whether its bias is meant.</param>
    /// <returns>A tensor in the caller's dispose scope.</returns>
    /// <exception cref="CheckpointException">A weight holds NaN or infinity.</exception>
    public Tensor Read(WeightRole role, int block, bool isBias = false)
    {
        using var scope = NewDisposeScope();
        Tensor[] pieces =
        [
            .. _parts[(role, block, isBias)].Select(part =>
                part.Tensor.Split(Folder.ReadWeight(part.Tensor.Name, CPU, ScalarType.Float32)).ElementAt(part.Index).Value),
        ];
        Tensor value = pieces.Length == 1 ? pieces[0] : cat(pieces);
        value = Spec.NormWeightOffset != 0 && !isBias && role.IsNorm() ? value.AddScalar(Spec.NormWeightOffset) : value;
        return value.contiguous().MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Reads a weight outside blocks in the type that the checkpoint holds. Token embedding and head are a model's largest weights, and in
    /// float32 twice as large as stored.
    /// </summary>
    public Tensor ReadAsStored(WeightRole role)
    {
        string name = _parts[(role, -1, false)][0].Tensor.Name;
        return Folder.ReadWeight(name, CPU, Folder.Info(name).Type);
    }

    /// <summary>As <see cref="Read"/>, with zeros where something was cut: the shape that the dense model has.</summary>
    public Tensor ReadWide(WeightRole role, int block, bool isBias = false)
    {
        Tensor value = Read(role, block, isBias);
        var parameter = _parts[(role, block, isBias)][0].Tensor.Parts.First(part =>
            part.Parameter.Role == role && part.Parameter.IsBias == isBias).Parameter;
        var (rows, columns) = (Plan?.KeptRows(parameter), Plan?.KeptColumns(parameter));
        if (rows is null && columns is null)
        {
            return value;
        }

        using (value)
        {
            using var scope = NewDisposeScope();
            Tensor wide = value;
            if (columns is not null)
            {
                wide = Spread(wide, 1, columns, parameter.Shape[1]);
            }

            if (rows is not null)
            {
                wide = Spread(wide, 0, rows, parameter.Shape[0]);
            }

            return wide.MoveToOuterDisposeScope();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Folder.Dispose();

    /// <summary>Indices as a tensor.</summary>
    public static Tensor Index(IReadOnlyList<int> kept) => tensor([.. kept.Select(index => (long)index)], ScalarType.Int64);

    /// <summary>A tensor with zeros between what it holds along an axis.</summary>
    public static Tensor Spread(Tensor narrow, int axis, IReadOnlyList<int> kept, long width)
    {
        long[] shape = narrow.shape;
        shape[axis] = width;
        return zeros(shape, narrow.dtype).index_copy_(axis, Index(kept), narrow);
    }

    /// <summary>A tensor that holds a parameter or some of its rows, and which of the tensor's parts that is.</summary>
    private sealed record StoredPart(CheckpointTensor Tensor, int Index);
}
