namespace DispLlm.Export;

/// <summary>
/// The rules by which byte-level tokenizers split text into words, and llama.cpp's names for them: it has the rules in its code
/// (<c>llm_tokenizer_bpe</c> of its <c>llama-vocab.cpp</c>), not in the file. It does not know letters of Unicode 16, which hardly any
/// text has; no note says so.
/// </summary>
internal static class GgufTextSplits
{
    private const string Bytes = "ByteLevel";
    private const string Gpt2 = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    private const string Contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    private const string Spaces = @"|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string Upper = @"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
    private const string Lower = @"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";

    private const string SplitsAtMarks =
        "llama.cpp splits words at combining marks, which Hindi, Thai and Arabic with vowel signs have, and beyond ASCII does not split " +
        "them before capitals: such texts get other ids there than the tokenizer gives, as in every GGUF file with this rule.";

    private static readonly GgufTextSplit[] s_rules =
    [
        new("gpt-2", false, [Gpt2, Bytes]),
        new("smollm", false, [@"\p{N}", Gpt2, Bytes]),
        new("falcon", false, ["Punctuation", Gpt2, Bytes, @"\p{N}+", "[0-9][0-9][0-9]"])
        {
            Note = "llama.cpp splits words at fewer places beside digits. Ids differ only where the vocabulary merges across such a " +
                "place, and one that was trained with this rule does not.",
        },
        new("qwen2", false, [Words(@"\p{N}"), Bytes]),
        new("llama-bpe", true, [Words(@"\p{N}{1,3}"), Bytes]),
        new("dbrx", false, [Words(@"\p{N}{1,3}"), Bytes]),
        new("minicpm5", true, [@"\p{N}{1,3}", Words(@"\p{N}+"), Bytes]),
        new("gpt-4o", false, [Cased(Contractions + "?", @"\p{N}{1,3}"), Bytes]) { Note = SplitsAtMarks },
        new("tekken", true, [Cased("", @"\p{N}"), Bytes]) { Note = SplitsAtMarks },
        new("qwen35", false,
        [
            Contractions + @"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + Spaces, Bytes,
        ]),
        new("deepseek-coder", false, ["[\r\n]", @"\s?\p{L}+", @"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", @"\p{N}", Bytes])
        {
            Note = "llama.cpp splits spaces beyond ASCII, such as U+3000, from the word after them, and the tokenizer does not.",
        },
        new("deepseek-v3", false,
        [
            @"\p{N}{1,3}",
            "[一-龥぀-ゟ゠-ヿ]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
                + Spaces,
            Bytes,
        ])
        {
            Note = "llama.cpp does not take a tilde for a sign, and splits it from the space before it.",
        },
    ];

    /// <summary>The rule of a tokenizer.json as llama.cpp has it.</summary>
    /// <param name="stages">The steps of the pre-tokenizer.</param>
    /// <param name="ignoresMerges">Whether the tokenizer takes words that are tokens whole: of two names for one rule, one says so.</param>
    /// <exception cref="ExportException">llama.cpp has no such rule.</exception>
    public static GgufTextSplit Find(IReadOnlyList<TokenizerPart> stages, bool ignoresMerges)
    {
        string[] described = [.. stages.SelectMany(Describe)];
        return s_rules
            .Where(rule => rule.Stages.Select(Unescape).SequenceEqual(described))
            .OrderByDescending(rule => rule.IgnoresMerges == ignoresMerges)
            .FirstOrDefault()
            ?? throw GgufTokenizerStages.Refuse(stages.FirstOrDefault(part => part.Type != "ByteLevel", stages[0]), "pre_tokenizer");
    }

    /// <summary>The rule of GPT-2's two files.</summary>
    public static string Default => "gpt-2";

    private static string Words(string numbers) =>
        Contractions + @"|[^\r\n\p{L}\p{N}]?\p{L}+|" + numbers + @"| ?[^\s\p{L}\p{N}]+[\r\n]*" + Spaces;

    private static string Cased(string contractions, string numbers) =>
        $@"[^\r\n\p{{L}}\p{{N}}]?{Upper}*{Lower}+{contractions}|[^\r\n\p{{L}}\p{{N}}]?{Upper}+{Lower}*{contractions}|{numbers}"
        + @"| ?[^\s\p{L}\p{N}]+[\r\n/]*" + Spaces;

    /// <summary>A step as the table writes it; a step that no rule has comes out as something that is in no rule.</summary>
    private static IEnumerable<string> Describe(TokenizerPart part)
    {
        switch (part.Type)
        {
            case "ByteLevel" when part.Boolean("add_prefix_space", true):
                throw GgufTokenizerStages.Refuse(part, "pre_tokenizer");
            case "ByteLevel":
                return part.Boolean("use_regex", true) ? [Gpt2, Bytes] : [Bytes];
            case "Digits":
                return [part.Boolean("individual_digits", false) ? @"\p{N}" : @"\p{N}+"];
            case "Punctuation" when JsonFiles.Optional(part.Value, "behavior") is not null && part.Text("behavior") == "Contiguous":
                return ["Punctuation"];
            case "Split" when TokenizerPart.Find(part.Value, "pattern", part.Path) is { } pattern
                && JsonFiles.Optional(pattern.Value, "Regex") is not null:
                string rule = pattern.Text("Regex");
                bool inverts = part.Boolean("invert", false);

                // A rule that leaves nothing out splits the same whether its matches or what lies between them is asked for.
                bool isSplit = part.Text("behavior") == "Isolated" ? !inverts : inverts && rule.EndsWith(@"|\s+", StringComparison.Ordinal);
                return isSplit && part.Text("behavior") is "Isolated" or "Removed" ? [Unescape(rule)] : [part.Value.GetRawText()];
            default:
                return [part.Value.GetRawText()];
        }
    }

    /// <summary>Line ends as characters, whichever way a file writes them.</summary>
    private static string Unescape(string rule) =>
        rule.Replace(@"\r", "\r", StringComparison.Ordinal).Replace(@"\n", "\n", StringComparison.Ordinal);
}

/// <summary>A rule by which text is split. Immutable.</summary>
/// <param name="Name">llama.cpp's name for it.</param>
/// <param name="IgnoresMerges">Whether words that are tokens are taken whole, even where merges would not build them.</param>
/// <param name="Stages">The splits of tokenizer.json that it stands for.</param>
internal sealed record GgufTextSplit(string Name, bool IgnoresMerges, IReadOnlyList<string> Stages)
{
    /// <summary>Where llama.cpp splits otherwise than tokenizer.json says.</summary>
    public string? Note { get; init; }
}
