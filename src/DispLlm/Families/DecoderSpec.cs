namespace DispLlm;

/// <summary>The normalisation in front of a sublayer.</summary>
public enum NormKind
{
    /// <summary><c>w * x / sqrt(mean(x^2) + eps)</c>.</summary>
    RootMeanSquare,
}

/// <summary>The nonlinearity of the MLP.</summary>
public enum Activation
{
    /// <summary><c>x * sigmoid(x)</c>, also called swish.</summary>
    Silu,

    /// <summary>The exact Gaussian error linear unit.</summary>
    Gelu,

    /// <summary>The Gaussian error linear unit in its tanh approximation (<c>gelu_new</c>, <c>gelu_pytorch_tanh</c>).</summary>
    GeluTanh,

    /// <summary><c>max(x, 0)</c>.</summary>
    Relu,
}

/// <summary>
/// Everything the decoder network needs to know about a model: sizes, and which of the known parts it is built of.
/// A family reads it from <c>config.json</c>; the network reads it and nothing else, so it holds no family's name.
/// </summary>
public sealed record DecoderSpec
{
    /// <summary>Number of token pieces.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Features <c>d</c> of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Number of decoder blocks <c>L</c>.</summary>
    public required int Blocks { get; init; }

    /// <summary>Number of query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Number of key-value heads; fewer than <see cref="Heads"/> in grouped-query attention.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Features of one head; not always <c>HiddenSize / Heads</c>.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Hidden features <c>d_ff</c> of the MLP.</summary>
    public required int MlpSize { get; init; }

    /// <summary>Whether the MLP multiplies a gate in: <c>down(act(gate(x)) * up(x))</c>; otherwise <c>down(act(up(x)))</c>.</summary>
    public required bool GatedMlp { get; init; }

    /// <summary>The MLP's nonlinearity.</summary>
    public required Activation Activation { get; init; }

    /// <summary>The kind of every norm of the model.</summary>
    public required NormKind Norm { get; init; }

    /// <summary>The norm's epsilon, added to the variance.</summary>
    public required double NormEpsilon { get; init; }

    /// <summary>Rotary position embedding of queries and keys.</summary>
    public required RotarySpec Rotary { get; init; }

    /// <summary>Longest sequence the model was made for, in tokens.</summary>
    public required int MaxPositions { get; init; }

    /// <summary>Whether query, key and value projections have biases.</summary>
    public bool QueryKeyValueBias { get; init; }

    /// <summary>Whether the attention output projection has a bias.</summary>
    public bool AttentionOutputBias { get; init; }

    /// <summary>Whether the MLP's projections have biases.</summary>
    public bool MlpBias { get; init; }

    /// <summary>Whether the head shares the token embedding's weight.</summary>
    public bool TiedHead { get; init; }

    /// <summary>Output features of the query projection: <c>Heads * HeadSize</c>.</summary>
    public int QuerySize => Heads * HeadSize;

    /// <summary>Output features of the key projection, and of the value projection: <c>KeyValueHeads * HeadSize</c>.</summary>
    public int KeyValueSize => KeyValueHeads * HeadSize;
}

/// <summary>How a rotary embedding stretches its wavelengths for contexts longer than those it was trained on.</summary>
public abstract record RotaryScaling
{
    private RotaryScaling()
    {
    }

    /// <summary>Wavelengths as they are.</summary>
    public sealed record None : RotaryScaling;

    /// <summary>Every position divided by a factor.</summary>
    /// <param name="Factor">The factor, above 0.</param>
    public sealed record Linear(double Factor) : RotaryScaling;

    /// <summary>LLaMA 3.1: long wavelengths divided by a factor, short ones kept, a smooth passage between.</summary>
    /// <param name="Factor">Divisor of low frequencies.</param>
    /// <param name="LowFrequencyFactor">Wavelengths above <c>OriginalMaxPositions / LowFrequencyFactor</c> are divided whole.</param>
    /// <param name="HighFrequencyFactor">Wavelengths below <c>OriginalMaxPositions / HighFrequencyFactor</c> are kept.</param>
    /// <param name="OriginalMaxPositions">Context length before the extension, in tokens.</param>
    public sealed record Llama3(double Factor, double LowFrequencyFactor, double HighFrequencyFactor, int OriginalMaxPositions) : RotaryScaling;
}

/// <summary>Rotary position embedding.</summary>
/// <param name="Theta">Base of the geometric series of wavelengths.</param>
/// <param name="Dimensions">How many features of each head are rotated; the rest pass.</param>
/// <param name="Scaling">How wavelengths are stretched.</param>
public sealed record RotarySpec(double Theta, int Dimensions, RotaryScaling Scaling);
