namespace DispLlm.Modeling;

/// <summary>What a checkpoint folder holds, before any weight is read.</summary>
/// <param name="Family">The family that names its tensors.</param>
/// <param name="Spec">The spec of the model; of the dense model where the folder is pruned.</param>
/// <param name="Plan">What a pruned folder keeps; null for a dense one.</param>
internal sealed record CheckpointDescription(IModelFamily Family, DecoderSpec Spec, SelectionPlan? Plan)
{
    /// <summary>Reads the configuration of a folder and, where it is pruned, its plan, and checks that the two belong together.</summary>
    public static CheckpointDescription Read(CheckpointFolder folder, ModelFamilies families)
    {
        if (PrunedFormat.TryRead(folder, families) is not { } pruned)
        {
            var family = families.Resolve(folder.Config);
            return new CheckpointDescription(family, DecoderSpec.Read(folder, family), null);
        }

        var spec = DecoderSpec.Read(folder, pruned.Family);
        pruned.Plan.Validate(spec);
        PrunedFormat.CheckIndices(folder, pruned.Plan);
        return new CheckpointDescription(pruned.Family, spec, pruned.Plan);
    }
}
