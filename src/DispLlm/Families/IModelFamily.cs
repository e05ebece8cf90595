namespace DispLlm;

/// <summary>
/// What tells one architecture from another: how its <c>config.json</c> becomes a <see cref="DecoderSpec"/>, and under which names
/// its tensors are stored. A family computes nothing.
/// </summary>
public interface IModelFamily
{
    /// <summary>The family's name in plans and pruned checkpoints, for instance <c>llama</c>.</summary>
    string Name { get; }

    /// <summary>Values of <c>model_type</c> in <c>config.json</c> that belong to this family.</summary>
    IReadOnlyCollection<string> ModelTypes { get; }

    /// <summary>Reads the configuration of a checkpoint.</summary>
    /// <param name="config">The checkpoint's <c>config.json</c>.</param>
    /// <exception cref="UnsupportedModelException">A value asks for something the decoder does not compute; it is named.</exception>
    /// <exception cref="CheckpointException">A value is missing or of the wrong kind; it is named.</exception>
    DecoderSpec ReadSpec(ModelConfig config);

    /// <summary>Name of the module that holds a weight, without <c>.weight</c> or <c>.bias</c>.</summary>
    /// <param name="role">What the weight does.</param>
    /// <param name="block">The block's index from 0; of no meaning for roles outside blocks.</param>
    string ModuleName(WeightRole role, int block);

    /// <summary>Whether a tensor that the model does not use may lie in the checkpoint all the same.</summary>
    /// <param name="tensorName">The tensor's name.</param>
    bool IsHarmlessExtra(string tensorName);
}
