namespace DispLlm.Export;

/// <summary>
/// Describes a folder's tokenizer in GGUF's metadata, as llama.cpp reads it. llama.cpp tokenizes by its own code, of which the metadata
/// chooses a kind and a rule; what it would tokenize otherwise for every text is refused, and what it does otherwise for some is noted.
/// </summary>
internal static class GgufTokenizer
{
    /// <summary>Describes the tokenizer of a checkpoint.</summary>
    /// <param name="source">The checkpoint.</param>
    /// <param name="notes">Takes sentences on what llama.cpp does otherwise.</param>
    /// <exception cref="ExportException">llama.cpp has no such tokenizer.</exception>
    /// <exception cref="TokenizerException">The tokenizer's files cannot be read.</exception>
    public static IReadOnlyList<GgufValue> Describe(CheckpointSource source, ICollection<string>? notes = null) =>
        Describe(source.Folder.FolderPath, source.Spec.VocabularySize, notes ?? []);

    /// <summary>Describes the tokenizer of a folder.</summary>
    /// <param name="folder">A folder with a tokenizer's files, or without.</param>
    /// <param name="rows">Rows of the model's embedding, which is how many tokens llama.cpp asks for.</param>
    /// <param name="notes">Takes sentences on what llama.cpp does otherwise.</param>
    public static IReadOnlyList<GgufValue> Describe(string folder, int rows, ICollection<string> notes)
    {
        if (!TextTokenizer.IsIn(folder))
        {
            notes.Add("The folder holds no tokenizer, so the file holds none: llama.cpp can compute with ids, but not read or write text.");
            return [new("tokenizer.ggml.model", "no_vocab")];
        }

        var tokenizer = TextTokenizer.FromFolder(folder);
        var settings = TokenizerSettings.Read(folder);
        var values = tokenizer.Codec switch
        {
            SentencePieceCodec codec => GgufPieceTokenizer.Describe(codec, rows, notes),
            PipelineCodec { Pipeline.Model: UnigramModel model } codec => GgufUnigramTokenizer.Describe(codec.Pipeline, model, rows, notes),
            PipelineCodec { Pipeline: { PreTokenizer.IsByteLevel: true, Model: BpeModel model } } codec =>
                GgufByteLevelTokenizer.Describe(codec.Pipeline, model, settings, rows, notes),
            PipelineCodec { Pipeline.Model: BpeModel model } codec => GgufPieceTokenizer.Describe(codec.Pipeline, model, rows, notes),
            var other => throw new ExportException("gguf", "tokenizer", $"GGUF has no tokenizer for {other.GetType().Name}."),
        };
        return [.. values, .. GgufSpecialTokens.Describe(tokenizer, settings, rows, notes), .. GgufChatTemplate.Read(folder)];
    }
}
