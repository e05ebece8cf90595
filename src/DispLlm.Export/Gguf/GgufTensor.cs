using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>A tensor of a GGUF file, whose numbers are made when they are written.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Shape">Rows and columns, or one length.</param>
/// <param name="Type">The type that it is written in.</param>
/// <param name="Parts">Read its numbers into the caller's dispose scope, some rows each: together, all of them.</param>
internal sealed record GgufTensor(string Name, IReadOnlyList<long> Shape, GgufType Type, IReadOnlyList<Func<Tensor>> Parts)
{
    /// <summary>How many numbers it has.</summary>
    public long Count => Shape.Aggregate(1L, (product, length) => product * length);

    /// <summary>Bytes of its numbers in the file.</summary>
    public long Bytes => GgufEncoding.Bytes(Type, Count);
}
