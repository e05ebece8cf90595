using System.Text;
using DispLlm.Export;
using LLama;
using LLama.Common;
using LLama.Native;

namespace DispLlm.Tests;

/// <summary>A tokenizer as llama.cpp reads it from a GGUF file.</summary>
internal sealed class LlamaVocabulary : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly LLamaWeights _weights;

    public LlamaVocabulary(IEnumerable<GgufValue> values)
    {
        string path = _folder.Below("vocabulary.gguf");
        VocabularyFile.Write(path, values);
        _weights = LLamaWeights.LoadFromFile(new ModelParams(path) { VocabOnly = true, GpuLayerCount = 0 });
    }

    public SafeLlamaModelHandle.Vocabulary Tokens => _weights.Vocab;

    public int[] Encode(string text, bool addSpecial, bool parseSpecial = true) =>
        [.. _weights.NativeHandle.Tokenize(text, addSpecial, parseSpecial, Encoding.UTF8).Select(token => (int)token)];

    /// <summary>The text of ids as programs print them: token by token.</summary>
    public string Decode(IEnumerable<int> ids)
    {
        using var bytes = new MemoryStream();
        foreach (int id in ids)
        {
            byte[] piece = new byte[256];
            uint length = _weights.NativeHandle.TokenToSpan(id, piece, 0, special: true);
            bytes.Write(piece, 0, (int)length);
        }

        return Encoding.UTF8.GetString(bytes.ToArray());
    }

    public void Dispose()
    {
        _weights.Dispose();
        _folder.Dispose();
    }
}
