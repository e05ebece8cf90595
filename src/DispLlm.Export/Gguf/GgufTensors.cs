using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>The tensors of a model in a GGUF file, in the order of the data flow.</summary>
internal sealed class GgufTensors
{
    private readonly CheckpointSource _source;
    private readonly GgufLayout _layout;
    private readonly GgufType _type;
    private readonly List<GgufTensor> _tensors = [];

    private GgufTensors(CheckpointSource source, GgufLayout layout, GgufType type) => (_source, _layout, _type) = (source, layout, type);

    private DecoderSpec Spec => _source.Spec;

    private GgufArchitecture Architecture => _layout.Architecture;

    /// <summary>Lists the tensors of a model; nothing is read before it is written.</summary>
    public static IReadOnlyList<GgufTensor> List(CheckpointSource source, GgufLayout layout, GgufType type) =>
        new GgufTensors(source, layout, type).List();

    private List<GgufTensor> List()
    {
        Add(WeightRole.TokenEmbedding, -1);
        if (Architecture.LearnedPositions)
        {
            Add(WeightRole.PositionEmbedding, -1);
        }

        _tensors.AddRange(GgufRotary.Tensors(Architecture, Spec));
        for (int block = 0; block < Spec.NumLayers; block++)
        {
            AddBlock(block);
        }

        Add(WeightRole.FinalNorm, -1);
        if (Spec.TieWordEmbeddings && Spec.HeadBias)
        {
            // phi2 has no other head.
            _tensors.Add(Tensor(WeightRole.TokenEmbedding, -1, false) with { Name = "output.weight" });
        }

        Add(WeightRole.Head, -1);
        return _tensors;
    }

    private void AddBlock(int block)
    {
        if (_layout.KeyValueHeads(block) > 0)
        {
            Add(WeightRole.AttentionNorm, block);
            AddFused(Architecture.FusesQueryKeyValue, "attn_qkv", block, WeightRole.Query, WeightRole.Key, WeightRole.Value);
            Add(WeightRole.QueryNorm, block);
            Add(WeightRole.KeyNorm, block);
            Add(WeightRole.AttentionOutput, block);
            Add(WeightRole.AttentionOutputNorm, block);
        }

        Add(WeightRole.MlpNorm, block);
        AddFused(Architecture.FusesGateUp, "ffn_up", block, WeightRole.MlpGate, WeightRole.MlpUp);
        Add(WeightRole.MlpDown, block);
        Add(WeightRole.MlpOutputNorm, block);
    }

    /// <summary>Adds a weight and its bias, where the model has them or the architecture needs them.</summary>
    private void Add(WeightRole role, int block)
    {
        bool isThere = role switch
        {
            WeightRole.QueryNorm or WeightRole.KeyNorm => Spec.QueryKeyNorm != QueryKeyNorm.None,
            WeightRole.MlpGate => Spec.GatedMlp,
            _ => _source.Has(role, block),
        };
        if (isThere)
        {
            _tensors.Add(Tensor(role, block, isBias: false));
        }

        if (_source.Has(role, block, isBias: true) || (Architecture.NeedsBiases && IsProjection(role)))
        {
            _tensors.Add(Tensor(role, block, isBias: true));
        }
    }

    private void AddFused(bool isFused, string name, int block, params WeightRole[] roles)
    {
        int first = _tensors.Count;
        foreach (var role in roles)
        {
            Add(role, block);
        }

        if (!isFused)
        {
            return;
        }

        var parts = _tensors.Skip(first).ToList();
        _tensors.RemoveRange(first, parts.Count);
        foreach (string suffix in new[] { "weight", "bias" })
        {
            var own = parts.Where(part => part.Name.EndsWith(suffix, StringComparison.Ordinal)).ToList();
            if (own.Count > 0)
            {
                _tensors.Add(own[0] with
                {
                    Name = $"blk.{block}.{name}.{suffix}",
                    Shape = [own.Sum(part => part.Shape[0]), .. own[0].Shape.Skip(1)],
                    Parts = [.. own.SelectMany(part => part.Parts)],
                });
            }
        }
    }

    private GgufTensor Tensor(WeightRole role, int block, bool isBias)
    {
        var (rows, columns) = Shape(role, block);
        bool isMatrix = columns > 0 && !isBias && !role.IsNorm() && role != WeightRole.PositionEmbedding;
        long[] shape = columns > 0 && !isBias ? [rows, columns] : [rows];
        string name = Name(role);
        return new GgufTensor(
            (block < 0 ? name : $"blk.{block}.{name}") + (isBias ? ".bias" : ".weight"),
            shape,
            isMatrix ? TypeFor(role, columns) : GgufType.F32,
            [() => Read(role, block, isBias, rows, isBias ? 0 : columns)]);
    }

    private GgufType TypeFor(WeightRole role, long columns)
    {
        // Embeddings suffer most from 4 bits; llama.cpp's own quantizer spares them too.
        var type = _type == GgufType.Q4_0 && role is WeightRole.TokenEmbedding or WeightRole.Head ? GgufType.Q8_0 : _type;
        return GgufEncoding.IsBlocked(type) && columns % GgufEncoding.BlockSize != 0 ? GgufType.F16 : type;
    }

    /// <summary>Rows and columns in the file; no columns for what has one length.</summary>
    private (long Rows, long Columns) Shape(WeightRole role, int block)
    {
        long stream = _layout.StreamSize;
        long heads = block < 0 ? 0 : _layout.Heads(block), keyValueHeads = block < 0 ? 0 : _layout.KeyValueHeads(block);
        return role switch
        {
            WeightRole.TokenEmbedding or WeightRole.Head => (Spec.VocabularySize, stream),
            WeightRole.PositionEmbedding => (Spec.MaxPositions, stream),
            WeightRole.Query => (heads * Spec.HeadDim, stream),
            WeightRole.Key or WeightRole.Value => (keyValueHeads * Spec.HeadDim, stream),
            WeightRole.AttentionOutput => (stream, heads * Spec.HeadDim),
            WeightRole.MlpGate or WeightRole.MlpUp => (_layout.MlpWidth(block), stream),
            WeightRole.MlpDown => (stream, _layout.MlpWidth(block)),
            WeightRole.QueryNorm => NormShape(heads),
            WeightRole.KeyNorm => NormShape(keyValueHeads),
            _ => (stream, 0),
        };
    }

    private (long Rows, long Columns) NormShape(long heads) => Spec.QueryKeyNorm switch
    {
        QueryKeyNorm.PerHead => (heads, Spec.HeadDim),
        QueryKeyNorm.AllHeads => (heads * Spec.HeadDim, 0),
        _ => (Spec.HeadDim, 0),
    };

    private Tensor Read(WeightRole role, int block, bool isBias, long rows, long columns)
    {
        double factor = GgufFactors.Factor(_layout, Spec, role);
        if (role is WeightRole.TokenEmbedding or WeightRole.Head && !isBias && factor == 1)
        {
            return _source.ReadAsStored(role);
        }

        using var scope = NewDisposeScope();
        bool isHeadNorm = role is WeightRole.QueryNorm or WeightRole.KeyNorm;
        long[] shape = isHeadNorm ? [rows * Math.Max(columns, 1)] : columns > 0 ? [rows, columns] : [rows];
        Tensor value = _source.Has(role, block, isBias) ? _source.Read(role, block, isBias) : zeros(shape);
        value = Fill(value, 0, Kept(role, block, WritesStream), shape[0]);
        value = shape.Length == 2 ? Fill(value, 1, Kept(role, block, ReadsStream), shape[1]) : value;
        if (Architecture.RotatesNeighbours && role is WeightRole.Query or WeightRole.Key or WeightRole.QueryNorm or WeightRole.KeyNorm)
        {
            Tensor order = tensor([.. GgufRotary.FeatureOrder(Spec)], ScalarType.Int64);
            value = value.view([-1, Spec.HeadDim, .. value.shape[1..]]).index_select(1, order).reshape(value.shape);
        }

        return (factor == 1 ? value : value.MulScalar(factor)).MoveToOuterDisposeScope();
    }

    private IReadOnlyList<int>? Kept(WeightRole role, int block, Func<WeightRole, SelectionSite?> siteOf) =>
        block >= 0 && siteOf(role) is { } site ? _source.Kept(site, block) : null;

    /// <summary>Spreads features to where they were, and adds zeros after them up to a length.</summary>
    private static Tensor Fill(Tensor narrow, int axis, IReadOnlyList<int>? kept, long length)
    {
        if (narrow.size(axis) == length)
        {
            return narrow;
        }

        long[] shape = narrow.shape;
        shape[axis] = length;
        Tensor wide = zeros(shape, narrow.dtype);
        if (kept is null)
        {
            wide.narrow(axis, 0, narrow.size(axis)).copy_(narrow);
            return wide;
        }

        return wide.index_copy_(axis, tensor([.. kept.Select(index => (long)index)], ScalarType.Int64), narrow);
    }

    private static SelectionSite? WritesStream(WeightRole role) => role switch
    {
        WeightRole.AttentionOutput => SelectionSite.AttentionOutput,
        WeightRole.MlpDown => SelectionSite.MlpOutput,
        _ => null,
    };

    private static SelectionSite? ReadsStream(WeightRole role) => role switch
    {
        WeightRole.Query or WeightRole.Key or WeightRole.Value => SelectionSite.AttentionInput,
        WeightRole.MlpGate or WeightRole.MlpUp => SelectionSite.MlpInput,
        _ => null,
    };

    private bool IsProjection(WeightRole role) => role switch
    {
        WeightRole.Query or WeightRole.Key or WeightRole.Value or WeightRole.AttentionOutput => true,
        WeightRole.MlpUp or WeightRole.MlpDown => true,
        WeightRole.Head => Architecture.Biases.HasFlag(GgufBiases.Head),
        _ => false,
    };

    private static string Name(WeightRole role) => role switch
    {
        WeightRole.TokenEmbedding => "token_embd",
        WeightRole.PositionEmbedding => "position_embd",
        WeightRole.AttentionNorm => "attn_norm",
        WeightRole.Query => "attn_q",
        WeightRole.Key => "attn_k",
        WeightRole.Value => "attn_v",
        WeightRole.QueryNorm => "attn_q_norm",
        WeightRole.KeyNorm => "attn_k_norm",
        WeightRole.AttentionOutput => "attn_output",
        WeightRole.AttentionOutputNorm => "post_attention_norm",
        WeightRole.MlpNorm => "ffn_norm",
        WeightRole.MlpGate => "ffn_gate",
        WeightRole.MlpUp => "ffn_up",
        WeightRole.MlpDown => "ffn_down",
        WeightRole.MlpOutputNorm => "post_ffw_norm",
        WeightRole.FinalNorm => "output_norm",
        WeightRole.Head => "output",
        _ => throw new ArgumentOutOfRangeException(nameof(role), role, "GGUF has no name for it."),
    };
}
