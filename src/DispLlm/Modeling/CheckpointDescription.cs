namespace DispLlm.Modeling;

/// <summary>What a checkpoint folder holds, before any weight is read.</summary>
/// <param name="Config">The configuration of the dense model.</param>
/// <param name="Family">The family that names its tensors.</param>
/// <param name="Spec">The spec of the model; of the dense model where the folder is pruned.</param>
/// <param name="Plan">What a pruned folder keeps; null for a dense one.</param>
/// <param name="Tensors">The tensors that it must hold, under the names that it gives them.</param>
internal sealed record CheckpointDescription(
    ModelConfig Config, IModelFamily Family, DecoderSpec Spec, SelectionPlan? Plan, IEnumerable<CheckpointTensor> Tensors)
{
    /// <summary>Reads the configuration of a folder and, where it is pruned, its plan, and checks that the two belong together.</summary>
    public static CheckpointDescription Read(CheckpointFolder folder, ModelFamilies families)
    {
        var pruned = PrunedFormat.TryRead(folder, families);
        var family = pruned?.Family ?? families.Resolve(folder.Config);
        var config = pruned?.DenseConfig ?? folder.Config;
        var spec = DecoderSpec.Read(folder, config, family);
        if (pruned is not null)
        {
            pruned.Plan.Validate(spec);
            PrunedFormat.CheckKept(folder, pruned);
        }

        CheckpointTensor? Stored(CheckpointTensor tensor) => pruned is { HasWholeNorms: true } && tensor.IsInputNorm
            && !pruned.Plan.Layout.HasOneStream() ? tensor : tensor.Prune(pruned?.Plan);
        var tensors = ParameterCatalog.CheckpointTensors(spec, family).Select(Stored).OfType<CheckpointTensor>()
            .Select(tensor => tensor.NamedIn(folder, family));
        return new CheckpointDescription(config, family, spec, pruned?.Plan, tensors);
    }

    /// <summary>Refuses a folder whose tensors are not those that it must hold; they are named.</summary>
    /// <exception cref="CheckpointException">A tensor is missing, left over, or of another shape.</exception>
    public void CheckTensors(CheckpointFolder folder) => DecoderWeights.CheckNames(folder, Tensors, Family, Plan is not null);
}
