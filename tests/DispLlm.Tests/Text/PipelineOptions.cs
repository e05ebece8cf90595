using System.Text.Json;
using System.Text.Json.Nodes;

namespace DispLlm.Tests.Text;

/// <summary>Every option of every stage of a tokenizer.json, and files that combine them.</summary>
internal static class PipelineOptions
{
    public static readonly string[] Normalizers =
    [
        "null", """{"type":"NFC"}""", """{"type":"NFD"}""", """{"type":"NFKC"}""", """{"type":"NFKD"}""", """{"type":"Lowercase"}""",
        """{"type":"Strip","strip_left":true,"strip_right":true}""", """{"type":"Strip","strip_left":true,"strip_right":false}""",
        """{"type":"Strip","strip_left":false,"strip_right":true}""", """{"type":"StripAccents"}""", """{"type":"Nmt"}""",
        """{"type":"Prepend","prepend":"▁"}""", """{"type":"Prepend","prepend":"ab"}""", """{"type":"ByteLevel"}""",
        """{"type":"Replace","pattern":{"String":" "},"content":"▁"}""", """{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}""",
        """{"type":"Replace","pattern":{"Regex":"\\p{N}+"},"content":"7"}""",
        """{"type":"Replace","pattern":{"String":"the"},"content":""}""",
        """{"type":"Replace","pattern":{"Regex":"(?i)the|[[:punct:]]"},"content":"é"}""",
        """{"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"},{"type":"Lowercase"}]}""",
        """{"type":"Sequence","normalizers":[{"type":"Strip","strip_left":true,"strip_right":true},{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}""",
        """{"type":"Sequence","normalizers":[]}""",
    ];

    public static readonly string[] PreTokenizers =
    [
        "null", """{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}""",
        """{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}""",
        """{"type":"Whitespace"}""", """{"type":"WhitespaceSplit"}""", """{"type":"BertPreTokenizer"}""",
        """{"type":"CharDelimiterSplit","delimiter":"e"}""", """{"type":"FixedLength","length":3}""",
        """{"type":"Digits","individual_digits":true}""", """{"type":"Digits","individual_digits":false}""",
        .. from scheme in (string[])["first", "always", "never"] from split in (string[])["true", "false"]
           select $$"""{"type":"Metaspace","replacement":"▁","prepend_scheme":"{{scheme}}","split":{{split}}}""",
        """{"type":"Metaspace","replacement":"_","prepend_scheme":"always"}""",
        """{"type":"Metaspace","replacement":"▁","add_prefix_space":true}""",
        .. from behavior in Behaviors select $$"""{"type":"Punctuation","behavior":"{{behavior}}"}""",
        .. from behavior in Behaviors from invert in (string[])["true", "false"]
           select $$"""{"type":"Split","pattern":{"Regex":"\\s+|\\p{P}"},"behavior":"{{behavior}}","invert":{{invert}}}""",
        .. from behavior in Behaviors select $$"""{"type":"Split","pattern":{"String":"  "},"behavior":"{{behavior}}","invert":false}""",
        """{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true}]}""",
        """{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"Punctuation","behavior":"Contiguous"},{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}]}""",
        """{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?=[A-Z])"},"behavior":"Isolated","invert":false},{"type":"FixedLength","length":4}]}""",
    ];

    public static readonly string[] Decoders =
    [
        "null", """{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}""", """{"type":"ByteFallback"}""",
        """{"type":"Fuse"}""", """{"type":"Replace","pattern":{"String":"▁"},"content":" "}""",
        """{"type":"Replace","pattern":{"Regex":"[a-e]+"},"content":"x"}""",
        """{"type":"Strip","content":"▁","start":2,"stop":0}""",
        .. from scheme in (string[])["first", "always", "never"]
           select $$"""{"type":"Metaspace","replacement":"▁","prepend_scheme":"{{scheme}}","split":true}""",
        """{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}""",
        """{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}]}""",
    ];

    public static readonly string[] PostProcessors =
    [
        "null", """{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true}""",
        Template("""{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}"""),
        Template("""{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}"""),
        Template("""{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}"""),
        Template("""{"SpecialToken":{"id":"two","type_id":0}},{"Sequence":{"id":"A","type_id":0}}"""),
        """{"type":"BertProcessing","sep":["</s>",2],"cls":["<s>",1]}""",
        """{"type":"RobertaProcessing","sep":["</s>",2],"cls":["<s>",1],"trim_offsets":true,"add_prefix_space":true}""",
        $$"""{"type":"Sequence","processors":[{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true},{{Template("""{"SpecialToken":{"id":"two","type_id":0}},{"Sequence":{"id":"A","type_id":0}}""")}}]}""",
    ];

    public static readonly string[] Models =
    [
        "", "\"byte_fallback\":true", "\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"fuse_unk\":true", "\"unk_token\":\"<unk>\"",
        "\"unk_token\":\"<unk>\",\"fuse_unk\":true", "\"ignore_merges\":true,\"unk_token\":\"<unk>\"",
        "\"end_of_word_suffix\":\"</w>\",\"unk_token\":\"<unk>\"",
        "\"continuing_subword_prefix\":\"##\",\"unk_token\":\"<unk>\",\"fuse_unk\":true", "\"dropout\":0.0,\"end_of_word_suffix\":\"\"",
        "unigram", "unigram with bytes",
    ];

    public static readonly string[] AddedTokens =
    [
        "", """{"content":"the","normalized":true}""", """{"content":"THE","normalized":true}""", """{"content":"é","normalized":true}""",
        """{"content":"<|x|>","special":true,"lstrip":true}""", """{"content":"<|x|>","special":true,"rstrip":true}""",
        """{"content":"<|x|>","lstrip":true,"rstrip":true},{"content":"  ","normalized":false}""",
        """{"content":"the","single_word":true}""", """{"content":"the","single_word":true,"special":true},{"content":"then"}""",
        """{"content":" ","normalized":true},{"content":"  ","normalized":true},{"content":"   ","normalized":true}""",
        """{"content":"a<|x|>","normalized":true},{"content":"<|x|>","special":true}""",
    ];

    private static readonly string[] s_words =
    [
        "th", "he", "the", "▁t", "▁th", "▁the", "Ġt", "Ġth", "Ġthe", "▁▁", "ĠĠ", "##h", "##e", "t##h", "th##e", "e</w>", "he</w>",
        "the</w>", "12", "123",
        "aa", "aaa", "aaaa", "of", " t", "  ", "en", "in", "日本", "ÃĹ",
    ];

    private static string[] Behaviors => ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];

    /// <summary>Texts that all of these options look at.</summary>
    public static IEnumerable<string> Texts(int count, int seed) => RandomTexts.Create(count, seed,
        "<|x|>", "the", "THE", "then", " the ", "  the  ", "a<|x|>", "  ", "aaaa", "aaaaa", "123456", "é", "e\u0301", "日本", "-", "--",
        "e", "ABC", "_", "__a");

    public static string Build(
        string normalizer = "null", string preTokenizer = "null", string decoder = """{"type":"Fuse"}""", string postProcessor = "null",
        string model = "\"byte_fallback\":true,\"unk_token\":\"<unk>\"", string added = "")
    {
        var json = JsonNode.Parse($$"""
            {"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":{{normalizer}},"pre_tokenizer":{{preTokenizer}},
             "post_processor":{{postProcessor}},"decoder":{{decoder}} }
            """)!;
        var vocabulary = Vocabulary(withBytes: !model.StartsWith("\"unk", StringComparison.Ordinal) && model != "unigram");
        json["model"] = model.StartsWith("unigram", StringComparison.Ordinal) ? Unigram(vocabulary, model) : Bpe(vocabulary, model);
        int next = vocabulary.Count;
        string specials = """{"content":"<unk>","special":true},{"content":"<s>","special":true},{"content":"</s>","special":true}""";
        foreach (var token in JsonNode.Parse($"[{specials}{(added.Length > 0 ? "," : "")}{added}]")!.AsArray())
        {
            string content = (string)token!["content"]!;
            var full = new JsonObject { ["id"] = vocabulary.TryGetValue(content, out int id) ? id : next++ };
            foreach (string key in (string[])["single_word", "lstrip", "rstrip", "normalized", "special"])
            {
                full[key] = (bool?)token[key] ?? false;
            }

            full["content"] = content;
            json["added_tokens"]!.AsArray().Add(full);
        }

        return json.ToJsonString();
    }

    private static Dictionary<string, int> Vocabulary(bool withBytes)
    {
        var bytes = Enumerable.Range(0, 256).Select(value => $"<0x{value:X2}>");
        var characters = Enumerable.Range(0x20, 0x5F).Concat(Enumerable.Range(0xA1, 0xA3)).Select(c => ((char)c).ToString());
        var suffixed = "etha12".SelectMany(c => (string[])[$"{c}</w>", $"##{c}"]);
        string[] tokens =
            ["<unk>", "<s>", "</s>", .. withBytes ? bytes : [], .. characters, "▁", "\n", "日", "本", "語", "й", .. suffixed, .. s_words];
        return tokens.Distinct().Select((token, id) => (token, id)).ToDictionary(entry => entry.token, entry => entry.id);
    }

    private static JsonNode Bpe(Dictionary<string, int> vocabulary, string options)
    {
        string prefix = options.Contains("continuing", StringComparison.Ordinal) ? "##" : "";
        var merges = from word in s_words
                     from cut in Enumerable.Range(1, word.Length - 1)
                     let left = word[..cut]
                     let right = prefix + word[cut..]
                     where vocabulary.ContainsKey(left) && vocabulary.ContainsKey(right)
                     select new JsonArray(left, right);
        var model = JsonNode.Parse($"{{\"type\":\"BPE\"{(options.Length > 0 ? "," : "")}{options}}}")!;
        model["vocab"] = JsonNode.Parse(JsonSerializer.Serialize(vocabulary));
        model["merges"] = new JsonArray([.. merges]);
        return model;
    }

    private static JsonObject Unigram(Dictionary<string, int> vocabulary, string model) => new()
    {
        ["type"] = "Unigram",
        ["unk_id"] = 0,
        ["byte_fallback"] = model.EndsWith("bytes", StringComparison.Ordinal),
        ["vocab"] = new JsonArray([.. vocabulary.OrderBy(entry => entry.Value)
            .Select(entry => new JsonArray(entry.Key, entry.Value < 3 ? 0 : -3 - (entry.Value * 7 % 11) + (entry.Key.Length * 0.5)))]),
    };

    private static string Template(string single)
    {
        const string Tokens =
            """{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]},"</s>":{"id":"</s>","ids":[2],"tokens":["</s>"]},"two":{"id":"two","ids":[1,2],"tokens":["<s>","</s>"]}}""";
        const string Pair = """[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}]""";
        return $"{{\"type\":\"TemplateProcessing\",\"single\":[{single}],\"pair\":{Pair},\"special_tokens\":{Tokens}}}";
    }
}
