using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>The element types of the safetensors format that have a counterpart in TorchSharp.</summary>
internal static class SafetensorsType
{
    /// <summary>Every known type by its name in the format; used in error messages.</summary>
    public const string Known = "F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL";

    /// <summary>The type of that name, or null if it is not one of <see cref="Known"/>.</summary>
    public static ScalarType? Parse(string name) => name switch
    {
        "F64" => ScalarType.Float64,
        "F32" => ScalarType.Float32,
        "F16" => ScalarType.Float16,
        "BF16" => ScalarType.BFloat16,
        "I64" => ScalarType.Int64,
        "I32" => ScalarType.Int32,
        "I16" => ScalarType.Int16,
        "I8" => ScalarType.Int8,
        "U8" => ScalarType.Byte,
        "BOOL" => ScalarType.Bool,
        _ => null,
    };

    /// <summary>The format's name of a type; TorchSharp's own name for types that the format lacks.</summary>
    public static string ToName(ScalarType type) => type switch
    {
        ScalarType.Float64 => "F64",
        ScalarType.Float32 => "F32",
        ScalarType.Float16 => "F16",
        ScalarType.BFloat16 => "BF16",
        ScalarType.Int64 => "I64",
        ScalarType.Int32 => "I32",
        ScalarType.Int16 => "I16",
        ScalarType.Int8 => "I8",
        ScalarType.Byte => "U8",
        ScalarType.Bool => "BOOL",
        _ => type.ToString(),
    };

    /// <summary>Whether numbers of the type are what a model computes with, rather than indices, masks or quantized weights.</summary>
    public static bool IsFloatingPoint(ScalarType type) =>
        type is ScalarType.Float64 or ScalarType.Float32 or ScalarType.Float16 or ScalarType.BFloat16;

    /// <summary>Bytes of one element.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The format has no such type.</exception>
    public static int ByteSize(ScalarType type) => type switch
    {
        ScalarType.Float64 or ScalarType.Int64 => 8,
        ScalarType.Float32 or ScalarType.Int32 => 4,
        ScalarType.Float16 or ScalarType.BFloat16 or ScalarType.Int16 => 2,
        ScalarType.Int8 or ScalarType.Byte or ScalarType.Bool => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, $"safetensors knows {Known}."),
    };
}
