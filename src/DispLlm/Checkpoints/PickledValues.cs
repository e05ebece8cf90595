using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>A dictionary of a pickle, in the order in which it was filled. Keys are not compared: a key may be there twice.</summary>
/// <param name="Ordered">Whether it is a <c>collections.OrderedDict</c>.</param>
internal sealed record PickledDictionary(bool Ordered)
{
    public List<KeyValuePair<object?, object?>> Items { get; } = [];
}

/// <summary>A storage of a pickle: elements whose bytes are an entry of the archive.</summary>
/// <param name="Type">Type of its elements.</param>
/// <param name="Key">Name of its entry.</param>
/// <param name="Elements">Number of elements, unchecked.</param>
internal sealed record PickledStorage(ScalarType Type, string Key, long Elements);

/// <summary>A tensor of a pickle: a view of a storage. Its numbers are unchecked.</summary>
/// <param name="Storage">The storage.</param>
/// <param name="Offset">First element, counted in elements.</param>
/// <param name="Shape">Its sizes, outermost first.</param>
/// <param name="Strides">For each size, the step to the next element, counted in elements.</param>
internal sealed record PickledTensor(PickledStorage Storage, long Offset, long[] Shape, long[] Strides);

/// <summary>
/// A global that a pickle may name. Naming one yields this record and nothing else: no class is looked up, no code is loaded.
/// </summary>
/// <param name="Kind">What it is.</param>
/// <param name="Type">Type of the elements, if it is a storage.</param>
internal sealed record PickledGlobal(PickledGlobal.Meaning Kind, ScalarType Type = default)
{
    internal enum Meaning
    {
        Storage,
        Tensor,
        Parameter,
        OrderedDictionary,
    }

    /// <summary>The whole list of what a pickle may name.</summary>
    private static readonly Dictionary<string, PickledGlobal> s_known = new(StringComparer.Ordinal)
    {
        ["collections.OrderedDict"] = new(Meaning.OrderedDictionary),
        ["torch._utils._rebuild_tensor_v2"] = new(Meaning.Tensor),
        ["torch._utils._rebuild_parameter"] = new(Meaning.Parameter),
        ["torch.DoubleStorage"] = new(Meaning.Storage, ScalarType.Float64),
        ["torch.FloatStorage"] = new(Meaning.Storage, ScalarType.Float32),
        ["torch.HalfStorage"] = new(Meaning.Storage, ScalarType.Float16),
        ["torch.BFloat16Storage"] = new(Meaning.Storage, ScalarType.BFloat16),
        ["torch.LongStorage"] = new(Meaning.Storage, ScalarType.Int64),
        ["torch.IntStorage"] = new(Meaning.Storage, ScalarType.Int32),
        ["torch.ShortStorage"] = new(Meaning.Storage, ScalarType.Int16),
        ["torch.CharStorage"] = new(Meaning.Storage, ScalarType.Int8),
        ["torch.ByteStorage"] = new(Meaning.Storage, ScalarType.Byte),
        ["torch.BoolStorage"] = new(Meaning.Storage, ScalarType.Bool),
    };

    /// <summary>The global of that module and name, or null if a state dict has no use for it.</summary>
    public static PickledGlobal? Find(string module, string name) => s_known.GetValueOrDefault($"{module}.{name}");
}
