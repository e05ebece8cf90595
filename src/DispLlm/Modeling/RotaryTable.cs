using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Cosines and sines of rotary positions. Wavelengths are fixed with the model; the table of a sequence is computed when it is needed
/// and kept by nobody, which costs little beside one projection.
/// </summary>
internal sealed class RotaryTable : IDisposable
{
    private readonly Tensor _frequencies;   // [dimensions / 2], float32

    public RotaryTable(RotarySpec spec, Device device)
    {
        using var scope = NewDisposeScope();
        float[] frequencies = new float[spec.Dimensions / 2];
        for (int i = 0; i < frequencies.Length; i++)
        {
            // In float32 throughout, as the models were trained.
            frequencies[i] = Scale(1.0f / MathF.Pow((float)spec.Theta, 2f * i / spec.Dimensions), spec.Scaling);
        }

        _frequencies = tensor(frequencies, ScalarType.Float32).to(device, copy: true).DetachFromDisposeScope();
    }

    /// <summary>
    /// Cosine and sine of positions <c>[seq]</c> or <c>[batch, seq]</c> in the compute type: <c>[seq, dimensions]</c> or <c>[batch, seq, dimensions]</c>, each half of them the same angles. The
    /// first half of the sines is negated, so that a turn is <c>x cosine + (x with its halves swapped) sine</c>.
    /// </summary>
    public (Tensor Cosine, Tensor Sine) At(Tensor positions, ScalarType type)
    {
        Tensor angles = positions.to(ScalarType.Float32).unsqueeze(-1) * _frequencies;
        Tensor cosine = angles.cos(), sine = angles.sin();
        return (cat([cosine, cosine], -1).to(type), cat([sine.neg(), sine], -1).to(type));
    }

    /// <summary>
    /// Turns the pairs (i, i + half) of the first <c>dimensions</c> features of <c>[batch, heads, seq, head]</c>; in place where nothing stands in the way.
    /// </summary>
    public static Tensor Rotate(Tensor x, Tensor cosine, Tensor sine)
    {
        // As projections write them: rows of heads by position.
        Tensor bySequence = x.transpose(1, 2);
        if (x.requires_grad)
        {
            return LearnedRotation.Of(bySequence, cosine, sine).transpose(1, 2);
        }

        if (HostRows.Lie(bySequence, cosine, sine))
        {
            HostKernels.Rotate(bySequence, x.size(3), cosine, sine);
            return x;
        }

        return DeviceKernels.Turned(bySequence, cosine, sine, back: false).transpose(1, 2);
    }

    public void Dispose() => _frequencies.Dispose();

    private static float Scale(float frequency, RotaryScaling scaling) => scaling switch
    {
        RotaryScaling.None => frequency,
        RotaryScaling.Linear linear => frequency / (float)linear.Factor,
        RotaryScaling.Llama3 llama3 => Scale(frequency, llama3),
        _ => throw new ArgumentOutOfRangeException(nameof(scaling), scaling, "Unknown rotary scaling."),
    };

    private static float Scale(float frequency, RotaryScaling.Llama3 scaling)
    {
        double wavelength = 2 * Math.PI / frequency;
        double longest = scaling.OriginalMaxPositions / scaling.LowFrequencyFactor;
        double shortest = scaling.OriginalMaxPositions / scaling.HighFrequencyFactor;
        if (wavelength < shortest)
        {
            return frequency;
        }

        if (wavelength > longest)
        {
            return (float)(frequency / scaling.Factor);
        }

        double smooth = (scaling.OriginalMaxPositions / wavelength - scaling.LowFrequencyFactor)
            / (scaling.HighFrequencyFactor - scaling.LowFrequencyFactor);
        return (float)((1 - smooth) * frequency / scaling.Factor + smooth * frequency);
    }
}
