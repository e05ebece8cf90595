namespace DispLlm.Export;

/// <summary>
/// How a model is laid out in a GGUF file: its architecture, and the widths of its blocks there, which are those of the checkpoint or,
/// where the architecture has one for all blocks, wider and filled with zeros. Immutable.
/// </summary>
internal sealed class GgufLayout
{
    private readonly int[] _keyValueHeads;
    private readonly int[] _mlpWidths;

    private GgufLayout(CheckpointSource source, GgufArchitecture architecture, int[] keyValueHeads, int[] mlpWidths)
    {
        Architecture = architecture;
        StreamSize = source.StreamSize;
        (_keyValueHeads, _mlpWidths) = (keyValueHeads, mlpWidths);
        HeadsPerGroup = source.Spec.NumAttentionHeads / source.Spec.NumKeyValueHeads;
    }

    /// <summary>The architecture.</summary>
    public GgufArchitecture Architecture { get; }

    /// <summary>Features of the residual stream.</summary>
    public int StreamSize { get; }

    /// <summary>Query heads of a key-value head.</summary>
    public int HeadsPerGroup { get; }

    /// <summary>Chooses a layout: the one that llama.cpp's own converter would write, unless another is smaller.</summary>
    /// <param name="source">The checkpoint.</param>
    /// <param name="type">The type of matrices: a pruned MLP is filled up to whole blocks of it.</param>
    /// <exception cref="ExportException">No architecture computes the model.</exception>
    public static GgufLayout Choose(CheckpointSource source, GgufType type)
    {
        WideModel.EnsureExact(source, "gguf", "Prune with NormThenSelect and the layout blocks or mlp, or export in another format.");
        var architectures = GgufArchitectures.For(source.Family, source.Spec);
        var blocks = Enumerable.Range(0, source.Spec.NumLayers).ToList();
        int[] heads = [.. blocks.Select(source.KeyValueHeads)], widths = [.. blocks.Select(block => MlpWidth(source, block, type))];
        bool isUniform = heads[0] > 0 && heads.Distinct().Count() == 1 && widths.Distinct().Count() == 1;
        var architecture = architectures.FirstOrDefault(each =>
            each.VariesByBlock || (isUniform && (!each.HeadsFillStream || FillStream(source, heads[0])))) ?? architectures[0];
        if (architecture.VariesByBlock)
        {
            heads = [.. heads.Select((count, block) => Present(source, architecture, block, count))];
            return new GgufLayout(source, architecture, heads, widths);
        }

        int dense = source.Spec.NumKeyValueHeads;
        int most = architecture.HeadsFillStream ? dense : Math.Max(heads.Max(), 1);
        if (architecture.HeadsFillStream && !FillStream(source, most))
        {
            throw new ExportException(
                "gguf", nameof(source.StreamSize), $"llama.cpp's architecture '{architecture.Name}' wants a residual stream as wide as all "
                    + $"heads, but it has {source.StreamSize} features and heads {most * source.Spec.QuerySize / dense}. Prune with the "
                    + "layout blocks, mlp or paper, or export in another format.");
        }

        return new GgufLayout(source, architecture, [.. heads.Select(_ => most)], [.. widths.Select(_ => widths.Max())]);
    }

    /// <summary>Key-value heads of a block in the file.</summary>
    public int KeyValueHeads(int block) => _keyValueHeads[block];

    /// <summary>Query heads of a block in the file.</summary>
    public int Heads(int block) => _keyValueHeads[block] * HeadsPerGroup;

    /// <summary>Hidden features of a block's MLP in the file.</summary>
    public int MlpWidth(int block) => _mlpWidths[block];

    /// <summary>What is smaller in a pruned model's file, and what is not.</summary>
    public IEnumerable<string> Notes(CheckpointSource source)
    {
        if (source.Plan is null)
        {
            yield break;
        }

        var (spec, blocks) = (source.Spec, Enumerable.Range(0, source.Spec.NumLayers).ToList());
        (bool IsSmaller, string Part)[] parts =
        [
            (StreamSize < spec.HiddenSize, $"the residual stream ({StreamSize} of {spec.HiddenSize} features)"),
            (blocks.Exists(block => MlpWidth(block) < spec.IntermediateSize), "S4 (MLPs)"),
            (blocks.Exists(block => KeyValueHeads(block) < spec.NumKeyValueHeads), "S6 (heads)"),
        ];
        string smaller = string.Join(", ", parts.Where(part => part.IsSmaller).Select(part => part.Part));
        yield return $"Smaller in the file than the dense model: {(smaller.Length > 0 ? smaller : "nothing")}.";

        string[] indexed =
        [
            .. SelectionSites.All.Where(site => blocks.Exists(block => source.Kept(site, block) is not null))
                .Select(site => $"S{(int)site}"),
        ];
        if (indexed.Length > 0)
        {
            yield return $"{string.Join(", ", indexed)}: what is not kept is zeros at full width, since llama.cpp selects nothing; it "
                + "saves neither space nor time. The layouts blocks, mlp, stream and stock are smaller in llama.cpp as well.";
        }

        if (blocks.Exists(block => MlpWidth(block) > source.MlpWidth(block)))
        {
            yield return Architecture.VariesByBlock
                ? $"S4: MLPs are filled with zeros to multiples of {GgufEncoding.BlockSize} features, the blocks of the file's type."
                : $"S4: MLPs are filled with zeros to {MlpWidth(0)} features in each block, since '{Architecture.Name}' has one width.";
        }

        if (blocks.Exists(block => KeyValueHeads(block) > source.KeyValueHeads(block)))
        {
            yield return Architecture.VariesByBlock
                ? "S6: a block without attention has a key-value head of zeros where llama.cpp needs one."
                : $"S6: heads are filled with zeros to {KeyValueHeads(0)} key-value heads in each block, since '{Architecture.Name}' has "
                    + "one number of them.";
        }
    }

    private static int MlpWidth(CheckpointSource source, int block, GgufType type)
    {
        int width = source.MlpWidth(block);
        return source.Plan is null || !GgufEncoding.IsBlocked(type) ? width
            : (width + GgufEncoding.BlockSize - 1) / GgufEncoding.BlockSize * GgufEncoding.BlockSize;
    }

    /// <summary>
    /// Key-value heads that a block needs. Without any, llama.cpp skips the bias of the output projection; in the first block, it finds no
    /// size of heads. One of zeros adds nothing but the bias.
    /// </summary>
    private static int Present(CheckpointSource source, GgufArchitecture architecture, int block, int count) =>
        count == 0 && (block == 0 || source.Spec.AttentionOutputBias || architecture.NeedsAttention) ? 1 : count;

    private static bool FillStream(CheckpointSource source, int keyValueHeads) =>
        keyValueHeads * (source.Spec.QuerySize / source.Spec.NumKeyValueHeads) == source.StreamSize;
}
