using System.Globalization;

namespace DispLlm.Export;

/// <summary>What a user should know of an ONNX export. Thread-safe.</summary>
internal static class OnnxNotes
{
    /// <summary>The notes on what was written.</summary>
    public static IEnumerable<string> Create(CheckpointSource source, OnnxExportOptions options, int contextLength)
    {
        var spec = source.Spec;
        if (source.Plan is { } plan)
        {
            bool isIndexed = Enumerable.Range(0, spec.NumLayers).Any(block => PrunedFormat.IndexedSites(plan, block).Any());
            yield return "Everything that was cut is gone from the file"
                + (isIndexed ? "; Gather operators select and spread the features of the stream." : ", and no operator was added for it.");
            int without = Enumerable.Range(0, spec.NumLayers).Count(block => source.KeyValueHeads(block) == 0);
            if (without > 0)
            {
                yield return Text($"{without} of {spec.NumLayers} blocks have no attention, and so no cache.");
            }
        }

        if (OnnxSequence.LongestExact(spec) is var longest && longest < spec.MaxPositions)
        {
            yield return Text(
                $"The context is {contextLength} of {spec.MaxPositions} tokens: beyond {longest} the model changes its rotary ")
                + "frequencies with the length, which the graph does not.";
        }

        if (OnnxAttention.CachedHeadSize(spec) is var cached && cached != spec.HeadDim)
        {
            yield return Text(
                $"Heads have {spec.HeadDim} features in the weights and {cached} in the cache: ONNX Runtime takes multiples of 8.");
        }

        switch (options.WeightType)
        {
            case OnnxWeightType.Float16:
                yield return "Computed in float16 on accelerators; on a CPU, ONNX Runtime widens most operators to float32.";
                break;
            case OnnxWeightType.BFloat16:
                yield return "Matrices are bfloat16 in the file and float32 in memory; everything is computed in float32.";
                break;
            case OnnxWeightType.Int8 or OnnxWeightType.Int4:
                string bits = options.WeightType == OnnxWeightType.Int4 ? "4 bits with zero points" : "8 bits";
                yield return Text($"Matrices are in {bits}, {options.BlockSize} weights to a block; token embeddings ")
                    + (spec.TieWordEmbeddings ? "and the head, which share one table, are in 8 bits." : "are in 8 bits.");
                break;
        }

        if (SentencePieceJson.IsNeeded(source.Folder))
        {
            yield return $"{SentencePieceJson.Name} was made of {SentencePieceJson.SourceName}; ONNX Runtime GenAI splits runs of spaces "
                + "before it merges, so that a text with such runs may have other tokens than here.";
        }

        if (spec.TieWordEmbeddings)
        {
            yield return "Token embedding and head are stored once.";
        }
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
