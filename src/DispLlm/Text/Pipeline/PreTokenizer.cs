namespace DispLlm;

/// <summary>
/// Splits text into words that merges do not cross, as the "pre_tokenizer" of tokenizer.json describes it. Immutable and thread-safe.
/// </summary>
internal sealed class PreTokenizer
{
    /// <summary>GPT-2's rule, which "use_regex" means.</summary>
    private const string ByteLevelRule = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private readonly List<Func<TextPiece, IEnumerable<TextPiece>>> _stages = [];

    private PreTokenizer()
    {
    }

    /// <summary>Whether words come out as bytes.</summary>
    public bool IsByteLevel { get; private set; }

    /// <summary>GPT-2's own, for folders without tokenizer.json.</summary>
    public static PreTokenizer ByteLevel(bool addPrefixSpace)
    {
        var result = new PreTokenizer();
        result.AddByteLevel(addPrefixSpace, useRule: true);
        return result;
    }

    /// <summary>Reads a pre-tokenizer; without one, a text is one word.</summary>
    public static PreTokenizer Read(TokenizerPart? description)
    {
        var result = new PreTokenizer();
        if (description is { } part)
        {
            result.Add(part);
        }

        return result;
    }

    /// <summary>The words of a piece, in order.</summary>
    public IReadOnlyList<TextPiece> Split(TextPiece piece)
    {
        List<TextPiece> words = [piece];
        foreach (var stage in _stages)
        {
            words = [.. words.SelectMany(stage)];
        }

        return words;
    }

    private void Add(TokenizerPart part)
    {
        switch (part.Type)
        {
            case "Sequence":
                foreach (var inner in part.Parts("pretokenizers"))
                {
                    Add(inner);
                }

                break;
            case "ByteLevel":
                AddByteLevel(part.Boolean("add_prefix_space", true), part.Boolean("use_regex", true));
                break;
            case "Split":
                AddSplit(part.Pattern(), Behavior(part, null), part.Boolean("invert", false));
                break;
            case "Digits":
                // Numbers of Unicode 17, of which .NET knows those of Unicode 16.
                var numbers = UnicodeTables.Property("N")!.Union(CodePointSet.Parse("11DE0-11DE9 16FF4-16FF6"));
                AddSplit(numbers, part, part.Boolean("individual_digits", false) ? SplitBehavior.Isolated : SplitBehavior.Contiguous);
                break;
            case "Punctuation":
                AddSplit(Punctuation(), part, Behavior(part, SplitBehavior.Isolated));
                break;
            case "WhitespaceSplit":
                AddSplit(UnicodeTables.Space, part, SplitBehavior.Removed);
                break;
            case "Whitespace":
                const string Words = @"[[:word:]\x{200C}\x{200D}]+|[^[:word:]\x{200C}\x{200D}\s]+";
                AddSplit(CodePointExpression.Parse(Words, part.Name), SplitBehavior.Removed, invert: true);
                break;
            case "BertPreTokenizer":
                AddSplit(UnicodeTables.Space, part, SplitBehavior.Removed);
                AddSplit(Punctuation(), part, SplitBehavior.Isolated);
                break;
            case "CharDelimiterSplit":
                AddSplit(CodePointExpression.FromLiteral(part.Character("delimiter"), part.Name), SplitBehavior.Removed);
                break;
            case "FixedLength":
                int length = JsonFiles.Optional(part.Value, "length") is null ? 5 : part.Integer("length");
                _stages.Add(length > 0 ? piece => Chunks(piece, length) : throw part.Unsupported("length"));
                break;
            case "Metaspace":
                AddMetaspace(part);
                break;
            default:
                throw part.Unsupported("type");
        }
    }

    private void AddByteLevel(bool addPrefixSpace, bool useRule)
    {
        IsByteLevel = true;
        if (addPrefixSpace)
        {
            _stages.Add(piece => [piece.Text.StartsWith(' ') ? piece : TextNormalizer.Prepend(piece, " ")]);
        }

        if (useRule)
        {
            AddSplit(CodePointExpression.Parse(ByteLevelRule, "ByteLevel"), SplitBehavior.Isolated);
        }

        _stages.Add(piece => [piece.Map(ByteAlphabet.Write)]);
    }

    private void AddMetaspace(TokenizerPart part)
    {
        string replacement = part.Character("replacement");
        var scheme = Metaspace.ReadScheme(part);
        _stages.Add(piece =>
        {
            piece = piece.Map(text => text.Replace(" ", replacement, StringComparison.Ordinal));
            bool prepends = scheme == MetaspaceScheme.Always || (scheme == MetaspaceScheme.First && piece.Lead > 0);
            bool isThere = piece.Text.StartsWith(replacement, StringComparison.Ordinal);
            return [prepends && !isThere ? TextNormalizer.Prepend(piece, replacement) : piece];
        });
        if (part.Boolean("split", true))
        {
            AddSplit(CodePointExpression.FromLiteral(replacement, part.Name), SplitBehavior.MergedWithNext);
        }
    }

    private void AddSplit(CodePointSet set, TokenizerPart part, SplitBehavior behavior) =>
        AddSplit(CodePointExpression.FromSet(set, part.Name), behavior);

    private void AddSplit(CodePointExpression expression, SplitBehavior behavior, bool invert = false) =>
        _stages.Add(new TextSplitter(expression, behavior, invert).Split);

    private static SplitBehavior Behavior(TokenizerPart part, SplitBehavior? otherwise)
    {
        if (otherwise is { } value && JsonFiles.Optional(part.Value, "behavior") is null)
        {
            return value;
        }

        return Enum.TryParse(part.Text("behavior"), out SplitBehavior behavior) && Enum.IsDefined(behavior)
            ? behavior
            : throw part.Unsupported("behavior");
    }

    /// <summary>ASCII's punctuation and Unicode 8's, as Hugging Face's tokenizers have it.</summary>
    private static CodePointSet Punctuation() => UnicodeTables.Property("Punctuation (Unicode 8)")!;

    private static IEnumerable<TextPiece> Chunks(TextPiece piece, int length)
    {
        int start = 0;
        foreach (var chunk in piece.Text.EnumerateRunes().Chunk(length))
        {
            int end = start + chunk.Sum(rune => rune.Utf16SequenceLength);
            yield return piece.Slice(start, end);
            start = end;
        }
    }
}
