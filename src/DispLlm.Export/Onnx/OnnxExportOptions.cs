namespace DispLlm.Export;

/// <summary>How a model is written for ONNX Runtime GenAI. Immutable and safe from several threads.</summary>
public sealed record OnnxExportOptions
{
    /// <summary>How weights are stored. Default: float32.</summary>
    public OnnxWeightType WeightType { get; init; }

    /// <summary>
    /// How many weights of a row share a scale in <see cref="OnnxWeightType.Int8"/> and <see cref="OnnxWeightType.Int4"/>: 16, 32, 64, 128
    /// or 256. Default: 32.
    /// </summary>
    public int BlockSize { get; init; } = 32;

    /// <summary>
    /// The longest sequence that the result is for, in tokens. ONNX Runtime GenAI allots its cache for as many, unless a search option
    /// <c>max_length</c> says less. Default: null, as many as the model was made for and ONNX Runtime computes exactly.
    /// </summary>
    public int? ContextLength { get; init; }

    /// <summary>
    /// Whether logits of all tokens are returned, <c>[batch, seq, vocab]</c>, as evaluation wants them. Default: no, those of the last
    /// token of each row, <c>[batch, 1, vocab]</c>, which are all that generation needs.
    /// </summary>
    public bool AllLogits { get; init; }

    /// <summary>The families that the model may belong to. Default: those that are built in.</summary>
    public ModelFamilies Families { get; init; } = ModelFamilies.BuiltIn;

    internal bool IsQuantized => WeightType is OnnxWeightType.Int8 or OnnxWeightType.Int4;

    internal void Validate()
    {
        ArgumentNullException.ThrowIfNull(Families);
        if (!Enum.IsDefined(WeightType))
        {
            throw new ArgumentOutOfRangeException(nameof(WeightType), WeightType, "There is no such type of weights.");
        }

        if (BlockSize is not (16 or 32 or 64 or 128 or 256))
        {
            throw new ArgumentOutOfRangeException(nameof(BlockSize), BlockSize, "A block has 16, 32, 64, 128 or 256 weights.");
        }

        if (ContextLength is { } length)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(length, 1, nameof(ContextLength));
        }
    }
}
