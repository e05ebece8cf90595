namespace DispLlm.Export;

/// <summary>Adds norms over the last dimension to a graph. Immutable.</summary>
internal sealed class OnnxNorm(DecoderSpec spec, OnnxGraph graph)
{
    /// <summary>The norm of a value.</summary>
    /// <param name="x">The value.</param>
    /// <param name="weight">The norm's weight.</param>
    /// <param name="bias">Its bias; null for none.</param>
    /// <param name="name">What the result is called.</param>
    public string Add(string x, string weight, string? bias, string name) => graph.Add(
        spec.Norm == NormKind.RmsNorm ? "SimplifiedLayerNormalization" : "LayerNormalization",
        name, bias is null ? [x, weight] : [x, weight, bias],
        ("axis", -1), ("epsilon", spec.NormEpsilon), ("stash_type", 1));
}
