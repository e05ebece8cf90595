namespace DispLlm.Modeling;

/// <summary>
/// What tells one architecture from another: how its <c>config.json</c> becomes a <see cref="DecoderSpec"/>, and under which names its
/// tensors are stored. A family computes nothing. Most derive from <see cref="HuggingFaceDecoderFamily"/>. Implementations are immutable
/// and safe from several threads.
/// </summary>
public interface IModelFamily
{
    /// <summary>The family's name in plans and pruned checkpoints, for instance <c>llama</c>.</summary>
    string Name { get; }

    /// <summary>Values of <c>model_type</c> in <c>config.json</c> that belong to this family.</summary>
    IReadOnlyCollection<string> ModelTypes { get; }

    /// <summary>
    /// The <c>config.json</c> of a published model of this family. <see cref="ModelFamilies.Add"/> tries the family on it, so that a
    /// contradictory spec or a name given twice is found when the family is added.
    /// </summary>
    ModelConfig Example { get; }

    /// <summary>
    /// What tensor names may lack at the front, as where the model was saved without its head: <c>model.</c> in many families. Default:
    /// nothing.
    /// </summary>
    string BaseModelPrefix => string.Empty;

    /// <summary>Reads the configuration of a checkpoint.</summary>
    /// <param name="config">The checkpoint's <c>config.json</c>.</param>
    /// <exception cref="UnsupportedModelException">A value asks for something the decoder does not compute; it is named.</exception>
    /// <exception cref="CheckpointException">A value is missing or of the wrong kind; it is named.</exception>
    DecoderSpec ReadSpec(ModelConfig config);

    /// <summary>
    /// Name of the module that holds a weight, without <c>.weight</c> or <c>.bias</c>. Query, key and value may share one, and so may gate
    /// and up: then one tensor holds their rows. Where every head has a tensor of its own, <c>{1}</c> stands for the head's index.
    /// </summary>
    /// <param name="role">What the weight does.</param>
    /// <param name="block">The block's index from 0; ignored for roles outside blocks.</param>
    /// <exception cref="ArgumentOutOfRangeException">No model of the family has such a weight.</exception>
    string ModuleName(WeightRole role, int block);

    /// <summary>Whether the checkpoint may hold a tensor that the model does not use. Default: no.</summary>
    /// <param name="tensorName">The tensor's name.</param>
    bool IsIgnorable(string tensorName) => false;
}
