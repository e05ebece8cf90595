using DispLlm.Export;

namespace DispLlm.Tests;

/// <summary>Writes a GGUF file that holds a vocabulary and no tensors, which llama.cpp opens to tokenize.</summary>
internal static class VocabularyFile
{
    public static void Write(string path, IEnumerable<GgufValue> values)
    {
        GgufValue[] all =
        [
            new("general.architecture", "llama"),
            new("llama.context_length", 64u),
            new("llama.embedding_length", 8u),
            new("llama.block_count", 1u),
            new("llama.feed_forward_length", 8u),
            new("llama.attention.head_count", 1u),
            new("llama.attention.layer_norm_rms_epsilon", 1e-5f),
            .. values,
        ];
        File.WriteAllBytes(path, GgufWriter.Header(all, []));
    }
}
