namespace DispLlm.Export;

/// <summary>Whether a pruned model is a dense one with zeros where something was cut.</summary>
internal static class WideModel
{
    /// <summary>Refuses a plan after which zeros compute something else. A narrower stream of the whole model is not looked at.</summary>
    /// <param name="source">The checkpoint.</param>
    /// <param name="format">The format that would be written.</param>
    /// <param name="instead">What to do instead, as a sentence.</param>
    /// <exception cref="ExportException">Some norm's statistics are over what is kept only.</exception>
    public static void EnsureExact(CheckpointSource source, string format, string instead)
    {
        if (source.Plan is { } plan && Find(source, plan) is var (key, reason))
        {
            throw new ExportException(format, key, $"{source.Folder.FolderPath}: {reason} {instead}");
        }
    }

    private static (string Key, string Reason)? Find(CheckpointSource source, SelectionPlan plan)
    {
        var spec = source.Spec;
        var blocks = Enumerable.Range(0, spec.NumLayers);
        bool Selects(params SelectionSite[] sites) => blocks.Any(block => sites.Any(site => source.Kept(site, block) is not null));

        return plan.NormOrder == NormOrder.SelectThenNorm && Selects(SelectionSite.AttentionInput, SelectionSite.MlpInput)
            ? (nameof(SelectionPlan.NormOrder), "S1 and S3 select before the norms (SelectThenNorm), which would count zeros.")
            : spec.HasOutputNorms && Selects(SelectionSite.AttentionOutput, SelectionSite.MlpOutput)
            ? (nameof(DecoderSpec.NormPlacement), "the norms after the sublayers are over what S2 and S5 keep, and would count zeros.")
            : spec.QueryKeyNorm == QueryKeyNorm.AllHeads && blocks.Any(block => source.KeyValueHeads(block) < spec.NumKeyValueHeads)
            ? (nameof(DecoderSpec.QueryKeyNorm), "the norms of queries and keys are over the heads that S6 keeps, and would count zeros.")
            : null;
    }
}
