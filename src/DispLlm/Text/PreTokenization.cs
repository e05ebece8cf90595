using System.Text.Json;
using System.Text.RegularExpressions;

namespace DispLlm;

/// <summary>
/// Splits text into words that merges do not cross, as tokenizer.json describes it. The pre-tokenizers of Microsoft.ML.Tokenizers drop what
/// their expression does not match, cannot split digits, and see no letter beyond U+FFFF. Immutable and thread-safe.
/// </summary>
internal sealed class PreTokenization
{
    /// <summary>GPT-2's rule, which "use_regex" means.</summary>
    private const string ByteLevelRule = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    private readonly List<Func<string, List<string>>> _stages = [];
    private bool _isByteLevel;

    private PreTokenization()
    {
    }

    /// <summary>GPT-2's own, for folders without tokenizer.json.</summary>
    public static PreTokenization ByteLevel(bool addPrefixSpace)
    {
        var result = new PreTokenization();
        result.AddByteLevel(addPrefixSpace, useRule: true);
        return result;
    }

    /// <summary>Reads the "pre_tokenizer" of a tokenizer.json.</summary>
    public static PreTokenization Read(JsonElement? element, string path)
    {
        var result = new PreTokenization();
        if (element is { } description)
        {
            result.Add(description, path, "pre_tokenizer");
        }

        return result._isByteLevel
            ? result
            : throw JsonFiles.Unsupported(path, "pre_tokenizer", element?.GetRawText() ?? "null (without a ByteLevel part)");
    }

    /// <summary>The words of a text, in order; together they are the text, but for added prefix spaces and removed separators.</summary>
    public List<string> Words(string text)
    {
        List<string> words = [text];
        foreach (var stage in _stages)
        {
            words = words.Count == 1 ? stage(words[0]) : [.. words.SelectMany(stage)];
        }

        return words;
    }

    private void Add(JsonElement element, string path, string key)
    {
        string type = JsonFiles.Text(element, "type", path);
        if (_isByteLevel)
        {
            // From here on the text is byte-encoded.
            throw JsonFiles.Unsupported(path, $"{key}.type", $"{type} after ByteLevel");
        }

        switch (type)
        {
            case "Sequence":
                int index = 0;
                foreach (var part in element.GetProperty("pretokenizers").EnumerateArray())
                {
                    Add(part, path, $"{key}.pretokenizers[{index++}]");
                }

                break;
            case "ByteLevel":
                AddByteLevel(
                    JsonFiles.Boolean(element, "add_prefix_space", true, path),
                    JsonFiles.Boolean(element, "use_regex", true, path));
                break;
            case "Digits":
                // Numeric, as the Rust crate defines it: decimal digits, letter numbers and other numbers.
                string rule = JsonFiles.Boolean(element, "individual_digits", false, path) ? @"\p{N}" : @"\p{N}+";
                AddSplit(Compile(rule, path, key), keepsMatches: true, keepsRest: true);
                break;
            case "Split":
                AddSplit(element, path, key);
                break;
            default:
                throw JsonFiles.Unsupported(path, $"{key}.type", type);
        }

    }

    private void AddByteLevel(bool addPrefixSpace, bool useRule)
    {
        _isByteLevel = true;
        if (addPrefixSpace)
        {
            _stages.Add(text => [text.StartsWith(' ') ? text : " " + text]);
        }

        if (useRule)
        {
            AddSplit(new Regex(ByteLevelRule, RegexOptions.CultureInvariant | RegexOptions.Compiled), keepsMatches: true, keepsRest: true);
        }
    }

    private void AddSplit(JsonElement element, string path, string key)
    {
        if (!element.TryGetProperty("pattern", out var pattern) || pattern.ValueKind != JsonValueKind.Object)
        {
            throw new TokenizerException($"'{path}': {key}.pattern is missing.");
        }

        string rule = pattern.TryGetProperty("Regex", out var regex) && regex.ValueKind == JsonValueKind.String
            ? regex.GetString()!
            : Regex.Escape(JsonFiles.Text(pattern, "String", path));
        bool invert = JsonFiles.Boolean(element, "invert", false, path);
        string behavior = JsonFiles.Text(element, "behavior", path);
        bool removes = behavior switch
        {
            "Isolated" => false,
            "Removed" => true,
            _ => throw JsonFiles.Unsupported(path, $"{key}.behavior", behavior),
        };
        AddSplit(Compile(rule, path, key), keepsMatches: !removes || invert, keepsRest: !removes || !invert);
    }

    private static Regex Compile(string rule, string path, string key)
    {
        try
        {
            return new Regex(rule, RegexOptions.CultureInvariant | RegexOptions.Compiled);
        }
        catch (ArgumentException e)
        {
            throw new TokenizerException($"'{path}': the expression of {key} cannot be read: {e.Message}", e);
        }
    }

    private void AddSplit(Regex rule, bool keepsMatches, bool keepsRest) => _stages.Add(text =>
    {
        string shadow = CodePoints.Shadow(text, out int[]? starts);
        var words = new List<string>(text.Length / 4);
        int done = 0;
        foreach (var match in rule.EnumerateMatches(shadow))
        {
            if (match.Length == 0)
            {
                continue;
            }

            Take(done, match.Index, keepsRest);
            Take(match.Index, match.Index + match.Length, keepsMatches);
            done = match.Index + match.Length;
        }

        Take(done, shadow.Length, keepsRest);
        return words;

        void Take(int from, int to, bool keeps)
        {
            if (keeps && to > from)
            {
                words.Add(starts is null ? text[from..to] : text[starts[from]..starts[to]]);
            }
        }
    });
}
