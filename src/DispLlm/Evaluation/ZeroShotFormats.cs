using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace DispLlm.Evaluation;

/// <summary>
/// Reads the published file of each task, or its rows as Hugging Face's copy of the data set has them, with the prompts of EleutherAI's
/// lm-evaluation-harness. A continuation is one space and the answer.
/// </summary>
internal static class ZeroShotFormats
{
    private static readonly (string Name, Func<string, IEnumerable<ZeroShotItem>> Read, bool IsNormalized)[] s_formats =
    [
        ("arc_challenge", path => JsonLines.Read(path).Select(CreateArcItem), true),
        ("arc_easy", path => JsonLines.Read(path).Select(CreateArcItem), true),
        ("hellaswag", path => JsonLines.Read(path).Select(CreateHellaSwagItem), true),
        ("openbookqa", path => JsonLines.Read(path).Select(CreateOpenBookQaItem), true),
        ("piqa", ReadPiqa, true),

        // Both continuations of an item are the same text.
        ("winogrande", path => JsonLines.Read(path).Select(CreateWinoGrandeItem), false),
    ];

    public static IReadOnlyList<string> Names { get; } = [.. s_formats.Select(format => format.Name)];

    public static ZeroShotTask Read(string name, string path)
    {
        int format = Array.FindIndex(s_formats, format => format.Name == name);
        return format < 0
            ? throw new EvaluationException(
                $"There is no task '{name}'. Use one of {string.Join(", ", Names)}, or create a task from items.")
            : new ZeroShotTask(name, [.. s_formats[format].Read(path)], s_formats[format].IsNormalized);
    }

    private static ZeroShotItem CreateArcItem(JsonLine line) => CreateQuestionItem(line, stem => $"Question: {stem}\nAnswer:");

    private static ZeroShotItem CreateOpenBookQaItem(JsonLine line) => CreateQuestionItem(line, stem => stem);

    private static ZeroShotItem CreateQuestionItem(JsonLine line, Func<string, string> prompt)
    {
        var (stem, key, choices, answerKey) = line.Has("choices") ? ReadHubQuestion(line) : ReadQuestion(line);
        string answer = answerKey.Trim();
        int gold = choices.FindIndex(choice => choice.Label == answer);

        // Some copies give the number of a letter, or the letter of a number.
        gold = gold < 0 && answer is [var label] ? choices.FindIndex(choice => choice.Label == GetCounterpart(label)) : gold;
        return gold < 0
            ? throw line.Error("answerKey", $"'{answer}' is not the label of a choice")
            : CreateItem(line, prompt(stem), key, [.. choices.Select(choice => choice.Text)], gold);
    }

    private static string GetCounterpart(char label) =>
        char.IsAsciiDigit(label) ? ((char)(label - '1' + 'A')).ToString() : ((char)(label - 'A' + '1')).ToString();

    private static (string Stem, string Key, List<(string Text, string Label)> Choices, string AnswerKey) ReadQuestion(JsonLine line)
    {
        const string Key = "question.choices";
        var value = line.Read<QuestionLine>();
        var choices = line.Require(Key, value.Question.Choices);
        return (value.Question.Stem, Key, [.. choices.Select(choice => (choice.Text, choice.Label.Text))], value.AnswerKey.Text);
    }

    private static (string Stem, string Key, List<(string Text, string Label)> Choices, string AnswerKey) ReadHubQuestion(JsonLine line)
    {
        var value = line.Read<HubQuestionLine>();
        var texts = line.Require("choices.text", value.Choices.Text);
        var labels = line.Require("choices.label", value.Choices.Label);
        return texts.Count != labels.Count
            ? throw line.Error("choices", $"it has {texts.Count} texts and {labels.Count} labels")
            : (value.QuestionStem ?? value.Question ?? throw line.Error("question", "it is missing"),
                "choices.text", [.. texts.Zip(labels, (text, label) => (text, label.Text))], value.AnswerKey.Text);
    }

    private static IEnumerable<ZeroShotItem> ReadPiqa(string path)
    {
        // PIQA is published with its labels in a second file.
        var lines = JsonLines.Read(path);
        string labelsPath =
            Path.Combine(Path.GetDirectoryName(lines[0].File)!, Path.GetFileNameWithoutExtension(lines[0].File) + "-labels.lst");
        string[] labels = lines[0].Has("label") || !File.Exists(labelsPath) ? [] : File.ReadAllLines(labelsPath);
        return lines.Select((line, i) =>
        {
            var value = line.Read<PiqaLine>();
            return CreateItem(
                line,
                $"Question: {value.Goal}\nAnswer:",
                "sol2",
                [value.Sol1, value.Sol2],
                i < labels.Length && int.TryParse(labels[i], NumberStyles.None, CultureInfo.InvariantCulture, out int gold)
                    ? gold
                    : value.Label ?? throw line.Error("label", "it is missing"));
        });
    }

    private static ZeroShotItem CreateHellaSwagItem(JsonLine line)
    {
        var value = line.Read<HellaSwagLine>();
        string context = $"{value.ActivityLabel}: {value.CtxA} {HellaSwagText.Capitalize(value.CtxB)}";
        var endings = line.Require("endings", value.Endings);
        return CreateItem(line, HellaSwagText.Clean(context), "endings", [.. endings.Select(HellaSwagText.Clean)], value.Label);
    }

    private static ZeroShotItem CreateWinoGrandeItem(JsonLine line)
    {
        var value = line.Read<WinoGrandeLine>();
        string sentence = value.Sentence;
        int gap = sentence.IndexOf('_', StringComparison.Ordinal);
        ZeroShotChoice Fill(string option) => new(sentence[..gap] + option, " " + sentence[(gap + 1)..].Trim());
        return gap < 0 ? throw line.Error("sentence", "it has no gap '_'")
            : value.Answer is not (1 or 2) ? throw line.Error("answer", $"it should be 1 or 2, not {value.Answer}")
            : new ZeroShotItem([Fill(value.Option1), Fill(value.Option2)], value.Answer - 1);
    }

    private static ZeroShotItem CreateItem(JsonLine line, string context, string key, IReadOnlyList<string> answers, int gold) =>
        answers.Count < 2 ? throw line.Error(key, $"there should be two answers or more, not {answers.Count}")
            : gold < 0 || gold >= answers.Count ? throw line.Error("label", $"{gold} is none of the answers 0 to {answers.Count - 1}")
            : new ZeroShotItem([.. answers.Select(answer => new ZeroShotChoice(context, " " + answer))], gold);

    // What is read of a line. The properties are the keys of the published files.
    private sealed record QuestionLine(Question Question, [property: JsonPropertyName("answerKey")] Label AnswerKey);

    private sealed record Question(string Stem, IReadOnlyList<QuestionChoice?> Choices);

    private sealed record QuestionChoice(string Text, Label Label);

    private sealed record HubQuestionLine(
        HubChoices Choices,
        [property: JsonPropertyName("answerKey")] Label AnswerKey,
        string? Question = null,
        string? QuestionStem = null);

    private sealed record HubChoices(IReadOnlyList<string?> Text, IReadOnlyList<Label?> Label);

    /// <summary>The letter or the digit of a choice. Digits are written as texts and as numbers.</summary>
    [JsonConverter(typeof(LabelConverter))]
    private sealed record Label(string Text);

    private sealed class LabelConverter : JsonConverter<Label>
    {
        public override Label Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            new(reader.TokenType == JsonTokenType.Number
                ? reader.GetInt32().ToString(CultureInfo.InvariantCulture)
                : reader.GetString()!);

        public override void Write(Utf8JsonWriter writer, Label value, JsonSerializerOptions options) => throw new NotSupportedException();
    }

    private sealed record PiqaLine(string Goal, string Sol1, string Sol2, int? Label = null);

    private sealed record HellaSwagLine(string ActivityLabel, string CtxA, string CtxB, IReadOnlyList<string?> Endings, int Label);

    private sealed record WinoGrandeLine(string Sentence, string Option1, string Option2, int Answer);
}
