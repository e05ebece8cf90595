using DataType = Onnx.TensorProto.Types.DataType;

namespace DispLlm.Export;

/// <summary>The decoder of a checkpoint as an ONNX graph: what <c>Decoder</c> computes, operator by operator. Not thread-safe.</summary>
internal sealed class OnnxDecoder(
    CheckpointSource source, OnnxGraph graph, OnnxWeights weights, OnnxSequence sequence, OnnxExportOptions options)
{
    private readonly DecoderSpec _spec = source.Spec;
    private readonly OnnxNorm _norm = new(source.Spec, graph);

    /// <summary>Adds all of it.</summary>
    public void Add()
    {
        string hidden = Embed();
        var attention = new OnnxAttention(source, graph, weights, sequence);
        for (int block = 0; block < _spec.NumLayers; block++)
        {
            hidden = new OnnxBlock(source, graph, weights, attention, block).Add(hidden);
        }

        AddHead(options.AllLogits ? hidden : sequence.Last(hidden));
    }

    private string Embed()
    {
        string hidden = weights.Embed(sequence.Ids);
        hidden = _spec.ProjectsEmbedding ? weights.Linear(hidden, WeightRole.EmbeddingInput, -1) : hidden;
        hidden = _spec.EmbeddingScale == 1
            ? hidden
            : graph.Add("Mul", "embedding.scaled", [hidden, graph.Number(_spec.EmbeddingScale)]);
        if (_spec.LearnedPositions is not { } learned)
        {
            return hidden;
        }

        string table = weights.Table(WeightRole.PositionEmbedding, learned.Offset, _spec.MaxPositions);
        string rows = graph.Add("Gather", "embedding.positions", [table, sequence.Positions], ("axis", 0));
        return graph.Add("Add", "embedding.sum", [hidden, rows]);
    }

    private void AddHead(string hidden)
    {
        if (_spec.FinalNorm)
        {
            bool hasBias = source.Has(WeightRole.FinalNorm, -1, isBias: true);
            hidden = _norm.Add(
                hidden,
                weights.Vector(WeightRole.FinalNorm, -1, isBias: false),
                hasBias ? weights.Vector(WeightRole.FinalNorm, -1, isBias: true) : null,
                "hidden.normed");
        }

        hidden = _spec.ProjectsEmbedding ? weights.Linear(hidden, WeightRole.EmbeddingOutput, -1) : hidden;
        string logits = weights.Head(hidden);
        logits = _spec.LogitScale == 1 ? logits : graph.Add("Mul", "head.scaled", [logits, graph.Number(_spec.LogitScale)]);
        if (_spec.LogitSoftcap is { } cap)
        {
            string bent = graph.Add("Tanh", "head.bent", [graph.Add("Div", "head.small", [logits, graph.Number(cap)])]);
            logits = graph.Add("Mul", "head.capped", [bent, graph.Number(cap)]);
        }

        DataType type = OnnxDataFile.ToOnnx(graph.Type);
        graph.Add("Identity", options.AllLogits
            ? graph.Output("logits", type, "batch_size", "sequence_length", _spec.VocabularySize)
            : graph.Output("logits", type, "batch_size", 1, _spec.VocabularySize), [logits]);
    }
}
