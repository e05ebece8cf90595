namespace DispLlm;

/// <summary>One tensor that a model consists of.</summary>
/// <param name="Role">What it does.</param>
/// <param name="Block">The block's index from 0; -1 outside blocks.</param>
/// <param name="IsBias">Whether it is the bias that goes with the role's weight.</param>
/// <param name="Name">Its name in the checkpoint.</param>
/// <param name="Shape">Its dense shape.</param>
public sealed record WeightSlot(WeightRole Role, int Block, bool IsBias, string Name, IReadOnlyList<long> Shape);

/// <summary>Lists every tensor that a checkpoint of a spec has to hold, with its dense shape.</summary>
public static class WeightCatalog
{
    /// <summary>The tensors of a model, in the order of the data flow.</summary>
    /// <param name="spec">The model's spec.</param>
    /// <param name="family">The family that names them.</param>
    public static IReadOnlyList<WeightSlot> Of(DecoderSpec spec, IModelFamily family)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(family);
        var slots = new List<WeightSlot>();
        long d = spec.HiddenSize;

        void Add(WeightRole role, int block, bool bias, params long[] shape)
        {
            string module = family.ModuleName(role, block);
            slots.Add(new WeightSlot(role, block, false, module + ".weight", shape));
            if (bias)
            {
                slots.Add(new WeightSlot(role, block, true, module + ".bias", [shape[0]]));
            }
        }

        Add(WeightRole.TokenEmbedding, -1, false, spec.VocabularySize, d);
        for (int block = 0; block < spec.Blocks; block++)
        {
            Add(WeightRole.AttentionNorm, block, false, d);
            Add(WeightRole.Query, block, spec.QueryKeyValueBias, spec.QuerySize, d);
            Add(WeightRole.Key, block, spec.QueryKeyValueBias, spec.KeyValueSize, d);
            Add(WeightRole.Value, block, spec.QueryKeyValueBias, spec.KeyValueSize, d);
            Add(WeightRole.AttentionOutput, block, spec.AttentionOutputBias, d, spec.QuerySize);
            Add(WeightRole.MlpNorm, block, false, d);
            if (spec.GatedMlp)
            {
                Add(WeightRole.MlpGate, block, spec.MlpBias, spec.MlpSize, d);
            }

            Add(WeightRole.MlpUp, block, spec.MlpBias, spec.MlpSize, d);
            Add(WeightRole.MlpDown, block, spec.MlpBias, d, spec.MlpSize);
        }

        Add(WeightRole.FinalNorm, -1, false, d);
        if (!spec.TiedHead)
        {
            Add(WeightRole.Head, -1, false, spec.VocabularySize, d);
        }

        return slots;
    }
}
