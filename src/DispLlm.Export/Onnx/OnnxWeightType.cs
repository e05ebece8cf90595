using System.Diagnostics.CodeAnalysis;

namespace DispLlm.Export;

/// <summary>How an ONNX export stores the weights of a model.</summary>
[SuppressMessage("Naming", "CA1720:Identifier contains type name", Justification = "Types of numbers are what it names.")]
public enum OnnxWeightType
{
    /// <summary>Everything in float32.</summary>
    Float32,

    /// <summary>
    /// Everything in float16: weights, activations and cache. For accelerators; on a CPU, ONNX Runtime widens most of it to float32.
    /// </summary>
    Float16,

    /// <summary>
    /// Matrices in bfloat16, which ONNX Runtime widens to float32 when it loads the model: half the file, and exact for a checkpoint in
    /// bfloat16. ONNX Runtime has no kernels that compute in bfloat16 on a CPU, so that neither memory nor time are less than in float32.
    /// </summary>
    BFloat16,

    /// <summary>
    /// Matrices in blocks of 8-bit integers with a scale each, the rest in float32. On a CPU, ONNX Runtime rounds what is multiplied with
    /// them to 8 bits, too.
    /// </summary>
    Int8,

    /// <summary>
    /// Matrices in blocks of 4-bit integers with a scale and a zero point each; otherwise as <see cref="Int8"/>. Token embeddings, and a
    /// head that shares them, have 8 bits.
    /// </summary>
    Int4,
}
