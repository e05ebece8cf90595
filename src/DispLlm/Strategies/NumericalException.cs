using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>A run went numerically wrong: a NaN or an infinity where a number was needed. Nothing was written.</summary>
public sealed class NumericalException : DispLlmException
{
    /// <summary>Creates the error.</summary>
    /// <param name="step">The step at which it was seen, from 1; 0 before the first.</param>
    /// <param name="where">The quantity or site that is not finite.</param>
    public NumericalException(int step, string where)
        : base($"Step {step}: {where} is not finite. The run is stopped and nothing is written. A lower learning rate, or float32 instead "
            + "of bfloat16, may help.")
    {
        Step = step;
        Where = where;
    }

    /// <summary>The step at which it was seen, from 1; 0 before the first.</summary>
    public int Step { get; }

    /// <summary>The quantity or site that is not finite.</summary>
    public string Where { get; }

    /// <summary>Refuses what is not finite, and names the site of the first such gate.</summary>
    /// <param name="values"><c>[gates]</c>.</param>
    /// <param name="layout">The gates of each site.</param>
    /// <param name="step">The step, from 1.</param>
    /// <param name="what">What the values are, as in "a logit".</param>
    internal static void ThrowIfNotFinite(Tensor values, GateLayout layout, int step, string what)
    {
        using var scope = NewDisposeScope();
        Tensor bad = isfinite(values).logical_not();
        if (bad.any().ReadBool())
        {
            long index = bad.to(ScalarType.Int64).argmax().ReadInt64();
            throw new NumericalException(step, $"{what} at {layout.Sites.Last(site => site.Offset <= index)}");
        }
    }
}
