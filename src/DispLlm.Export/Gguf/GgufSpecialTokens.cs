namespace DispLlm.Export;

/// <summary>The ids of special tokens, and which of them are put around a text.</summary>
internal static class GgufSpecialTokens
{
    /// <summary>Describes them by what the tokenizer does.</summary>
    public static IEnumerable<GgufValue> Describe(TextTokenizer tokenizer, TokenizerSettings settings, int rows, ICollection<string> notes)
    {
        var (before, after) = (tokenizer.TokensBefore, tokenizer.TokensAfter);
        int? begin = before is [var first] ? first : tokenizer.BosTokenId;
        int[] stops = [.. tokenizer.StopTokenIds.Where(id => id < rows)];
        int? end = stops.Length > 0 ? stops[0] : after is [var last] ? last : null;
        bool addsEnd = after is [var added] && added == end;
        if (before.Count > 1 || (after.Count > 0 && !addsEnd))
        {
            notes.Add($"The tokenizer puts tokens {Names(before)} before a text and {Names(after)} after it. llama.cpp can put one, and " +
                "after a text only the one that ends it; write the others into the prompt.");
        }

        if (end is null)
        {
            // llama.cpp needs one: without it, it takes a fixed id.
            end = begin;
            notes.Add("The tokenizer's files name no token that ends a text (eos_token), so that generation with llama.cpp ends at " +
                (begin is { } id ? $"the one that begins a text, '{tokenizer.GetToken(id)}'." : "a token that it chooses by its id."));
        }

        if (stops.Length > 3)
        {
            notes.Add($"Generation ends at {stops.Length} tokens, of which llama.cpp takes three, and others by their usual names.");
        }

        int? unknown = tokenizer.Codec switch
        {
            SentencePieceCodec codec => codec.Model.UnknownId,
            PipelineCodec { Pipeline.Model: UnigramModel model } => model.UnknownId,
            PipelineCodec { Pipeline.Model: BpeModel { Options.UnknownToken: { } name } } codec => codec.FindId(name),
            _ => Find("unk_token"),
        };
        return Ids().Where(entry => entry.Id < rows).Select(entry => new GgufValue($"tokenizer.ggml.{entry.Key}_token_id", (uint)entry.Id!))
            .Append(new("tokenizer.ggml.add_bos_token", before.Count == 1 && begin < rows))
            .Append(new("tokenizer.ggml.add_eos_token", addsEnd && end < rows));

        IEnumerable<(string Key, int? Id)> Ids() =>
        [
            ("bos", begin),
            ("eos", end),
            ("eot", stops.Length > 1 ? stops[1] : null),
            ("eom", stops.Length > 2 ? stops[2] : null),
            ("padding", Find("pad_token")),
            ("unknown", unknown),
        ];

        int? Find(string key) => settings.NameAt(key) is { } name ? tokenizer.Codec.FindId(name) : null;

        string Names(IReadOnlyList<int> ids) =>
            ids.Count == 0 ? "none" : string.Join(", ", ids.Select(id => $"'{tokenizer.GetToken(id)}'"));
    }
}
