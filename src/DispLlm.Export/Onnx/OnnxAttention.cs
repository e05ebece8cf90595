using System.Globalization;

namespace DispLlm.Export;

/// <summary>
/// Attention of a block as the operator GroupQueryAttention, with what the operator cannot do around it: norms of queries and keys,
/// rotation of widths that it does not take, and heads of sizes that it does not take. Not thread-safe.
/// </summary>
internal sealed class OnnxAttention(CheckpointSource source, OnnxGraph graph, OnnxWeights weights, OnnxSequence sequence)
{
    // What the operator asks of the size of a head, and of half the features that it rotates.
    private const int HeadUnit = 8;

    private readonly DecoderSpec _spec = source.Spec;

    /// <summary>Features of a head in the cache: zeros follow where the operator would not take it.</summary>
    public static int CachedHeadSize(DecoderSpec spec) => (spec.HeadDim + HeadUnit - 1) / HeadUnit * HeadUnit;

    /// <summary>The attention of all heads.</summary>
    /// <param name="input">The input of the query, key and value projections.</param>
    /// <param name="block">The block, which has heads.</param>
    /// <returns><c>[batch, seq, heads x head_dim]</c>.</returns>
    public string Add(string input, int block)
    {
        int heads = source.Heads(block), keyValueHeads = source.KeyValueHeads(block);
        string name = string.Create(CultureInfo.InvariantCulture, $"blocks.{block}.attention");
        string query = Normed(weights.Linear(input, WeightRole.Query, block), WeightRole.QueryNorm, block, heads);
        string key = Normed(weights.Linear(input, WeightRole.Key, block), WeightRole.KeyNorm, block, keyValueHeads);
        string value = weights.Linear(input, WeightRole.Value, block);
        var attention = _spec.GetAttention(block);
        (string Cosine, string Sine)? table = attention.Rotary is { } rotary ? sequence.RotaryTable(rotary, weights) : null;
        bool rotates = table is not null && RotatesItself(attention.Rotary!);
        if (table is { } outside && !rotates)
        {
            query = Rotated(query, heads, attention.Rotary!, outside, name + ".query");
            key = Rotated(key, keyValueHeads, attention.Rotary!, outside, name + ".key");
        }

        int cached = CachedHeadSize(_spec);
        if (cached != _spec.HeadDim)
        {
            query = Resized(query, heads, _spec.HeadDim, cached, name + ".query");
            key = Resized(key, keyValueHeads, _spec.HeadDim, cached, name + ".key");
            value = Resized(value, keyValueHeads, _spec.HeadDim, cached, name + ".value");
        }

        var elementType = OnnxDataFile.ToOnnx(graph.Type);
        string Past(string part) => graph.Input(
            string.Create(CultureInfo.InvariantCulture, $"past_key_values.{block}.{part}"),
            elementType, "batch_size", keyValueHeads, "past_sequence_length", cached);
        string Present(string part) => graph.Output(
            string.Create(CultureInfo.InvariantCulture, $"present.{block}.{part}"),
            elementType, "batch_size", keyValueHeads, "total_sequence_length", cached);
        graph.Add(
            "GroupQueryAttention",
            [name, Present("key"), Present("value")],
            [
                query, key, value, Past("key"), Past("value"), sequence.LastIndex, sequence.TotalLength,
                .. rotates ? [table!.Value.Cosine, table.Value.Sine] : Array.Empty<string>(),
            ],
            ("num_heads", heads), ("kv_num_heads", keyValueHeads),
            ("scale", _spec.AttentionScale ?? 1 / Math.Sqrt(_spec.HeadDim)), ("softcap", _spec.AttentionSoftcap ?? 0d),
            ("local_window_size", attention.SlidingWindow ?? -1), ("do_rotary", rotates ? 1 : 0));
        return cached == _spec.HeadDim ? name : Resized(name, heads, cached, _spec.HeadDim, name + ".cut");
    }

    private bool RotatesItself(RotarySpec rotary) => _spec.HeadDim % (2 * HeadUnit) == 0 && rotary.Dimensions % (2 * HeadUnit) == 0;

    private string Rotated(string x, int heads, RotarySpec rotary, (string Cosine, string Sine) table, string name) => graph.Add(
        "RotaryEmbedding", name + ".rotated", [x, sequence.Positions, table.Cosine, table.Sine],
        ("num_heads", heads), ("rotary_embedding_dim", rotary.Dimensions == _spec.HeadDim ? 0 : rotary.Dimensions));

    /// <summary>Queries or keys after their norm, where there is one.</summary>
    private string Normed(string x, WeightRole role, int block, int heads)
    {
        if (_spec.QueryKeyNorm == QueryKeyNorm.None)
        {
            return x;
        }

        string name = x + ".norm";
        var norm = new OnnxNorm(_spec, graph);
        if (_spec.QueryKeyNorm == QueryKeyNorm.AllHeads)
        {
            return norm.Add(x, weights.Vector(role, block, isBias: false), Bias(role, block), name);
        }

        string apart = graph.Add("Reshape", name + ".heads", [x, graph.Integers(0, 0, heads, _spec.HeadDim)]);
        string normed;
        if (_spec.QueryKeyNorm == QueryKeyNorm.SharedByHeads)
        {
            normed = norm.Add(apart, weights.Vector(role, block, isBias: false), Bias(role, block), name);
        }
        else
        {
            long[] shape = [heads, _spec.HeadDim];
            string weight = weights.Vector(role, block, isBias: false, shape: shape);
            normed = graph.Add("Mul", name + ".scaled", [norm.Add(apart, weights.Ones(_spec.HeadDim), null, name), weight]);
            normed = source.Has(role, block, isBias: true)
                ? graph.Add("Add", name + ".shifted", [normed, weights.Vector(role, block, isBias: true, shape: shape)])
                : normed;
        }

        return graph.Add("Reshape", name + ".together", [normed, graph.Integers(0, 0, heads * _spec.HeadDim)]);
    }

    private string? Bias(WeightRole role, int block) =>
        source.Has(role, block, isBias: true) ? weights.Vector(role, block, isBias: true) : null;

    /// <summary>Heads with zeros at their end, or without the last features.</summary>
    private string Resized(string x, int heads, int size, int wanted, string name)
    {
        string apart = graph.Add("Reshape", name + ".heads", [x, graph.Integers(0, 0, heads, size)]);
        string resized = wanted > size
            ? graph.Add("Pad", name + ".padded", [apart, graph.Integers(0, 0, 0, 0, 0, 0, 0, wanted - size), graph.Number(0)])
            : graph.Add("Slice", name + ".narrow", [apart, graph.Integers(0), graph.Integers(wanted), graph.Integers(3)]);
        return graph.Add("Reshape", name + ".together", [resized, graph.Integers(0, 0, heads * wanted)]);
    }
}
