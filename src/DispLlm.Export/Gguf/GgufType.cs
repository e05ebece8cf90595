using System.Diagnostics.CodeAnalysis;

namespace DispLlm.Export;

/// <summary>The type of a GGUF file's matrices. Norms, biases and tables of positions are float32 in every file.</summary>
[SuppressMessage("Naming", "CA1707", Justification = "llama.cpp's own names.")]
public enum GgufType
{
    /// <summary>32-bit floats.</summary>
    F32,

    /// <summary>16-bit floats.</summary>
    F16,

    /// <summary>bfloat16: the range of float32 with 8 significant bits.</summary>
    BF16,

    /// <summary>Blocks of 32 whole numbers of 8 bits with one factor: 8.5 bits per weight.</summary>
    Q8_0,

    /// <summary>
    /// Blocks of 32 whole numbers of 4 bits with one factor: 4.5 bits per weight. Token embedding and head are <see cref="Q8_0"/>.
    /// </summary>
    Q4_0,
}
