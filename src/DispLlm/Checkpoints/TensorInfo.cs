using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>
/// What a weights file says about one tensor. The same record declares a tensor to be written, so a copy with one size changed
/// is <c>info with { Shape = [kept, columns] }</c>. Immutable and safe from several threads.
/// </summary>
/// <param name="Name">The tensor's name, unique in its file.</param>
/// <param name="Type">Type of its elements.</param>
/// <param name="Shape">Its sizes, outermost first; empty for a single number.</param>
public sealed record TensorInfo(string Name, ScalarType Type, IReadOnlyList<long> Shape)
{
    /// <summary>
    /// Position of the tensor's first byte, counted from the end of the header in a safetensors file, from the start of a PyTorch file. 0
    /// in a declaration.
    /// </summary>
    public long Offset { get; internal init; }

    /// <summary>Number of elements.</summary>
    /// <exception cref="OverflowException">The number does not fit 64 bits.</exception>
    public long Elements
    {
        get
        {
            long elements = 1;
            foreach (long size in Shape)
            {
                elements = checked(elements * size);
            }

            return elements;
        }
    }

    /// <summary>Number of bytes.</summary>
    /// <exception cref="OverflowException">The number does not fit 64 bits.</exception>
    public long ByteCount => checked(Elements * SafetensorsType.ByteSize(Type));

    /// <summary>Whether both describe the same tensor at the same place.</summary>
    /// <param name="other">The other description.</param>
    public bool Equals(TensorInfo? other) =>
        other is not null && Name == other.Name && Type == other.Type && Offset == other.Offset && Shape.SequenceEqual(other.Shape);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Name, Type, Offset, Shape.Count);

    /// <inheritdoc/>
    public override string ToString() => $"{Name} {SafetensorsType.ToName(Type)}[{string.Join(", ", Shape)}]";
}
