namespace DispLlm.Export;

/// <summary>One key of a GGUF file's metadata and its value. Immutable.</summary>
/// <param name="Key">The key, for instance <c>tokenizer.ggml.model</c>.</param>
/// <param name="Value">
/// A <see cref="string"/>, <see cref="uint"/>, <see cref="int"/>, <see cref="float"/>, <see cref="bool"/>, or an array
/// of one of them.
/// </param>
internal sealed record GgufValue(string Key, object Value);
