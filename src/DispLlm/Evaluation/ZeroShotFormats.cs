using System.Globalization;
using System.Text.Json.Serialization;

namespace DispLlm.Evaluation;

/// <summary>
/// Reads the published file of each task, with the prompts of EleutherAI's lm-evaluation-harness. A continuation is one space and the
/// answer.
/// </summary>
internal static class ZeroShotFormats
{
    private static readonly (string Name, Func<string, IEnumerable<ZeroShotItem>> Read, bool IsNormalized)[] s_formats =
    [
        ("arc_challenge", path => JsonLines.Read<QuestionLine>(path).Select(CreateArcItem), true),
        ("arc_easy", path => JsonLines.Read<QuestionLine>(path).Select(CreateArcItem), true),
        ("hellaswag", path => JsonLines.Read<HellaSwagLine>(path).Select(CreateHellaSwagItem), true),
        ("openbookqa", path => JsonLines.Read<QuestionLine>(path).Select(CreateOpenBookQaItem), true),
        ("piqa", ReadPiqa, true),

        // Both continuations of an item are the same text.
        ("winogrande", path => JsonLines.Read<WinoGrandeLine>(path).Select(CreateWinoGrandeItem), false),
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

    private static ZeroShotItem CreateArcItem(JsonLine<QuestionLine> line) =>
        CreateQuestionItem(line, $"Question: {line.Value.Question.Stem}\nAnswer:");

    private static ZeroShotItem CreateOpenBookQaItem(JsonLine<QuestionLine> line) => CreateQuestionItem(line, line.Value.Question.Stem);

    private static ZeroShotItem CreateQuestionItem(JsonLine<QuestionLine> line, string context)
    {
        var choices = line.Require("question.choices", line.Value.Question.Choices);
        string answer = line.Value.AnswerKey.TrimStart();
        int gold = choices.ToList().FindIndex(choice => choice.Label == answer);
        return gold < 0
            ? throw line.Error("answerKey", $"'{answer}' is not the label of a choice")
            : CreateItem(line, context, "question.choices", [.. choices.Select(choice => choice.Text)], gold);
    }

    private static IEnumerable<ZeroShotItem> ReadPiqa(string path)
    {
        // PIQA is published with its labels in a second file.
        var lines = JsonLines.Read<PiqaLine>(path);
        string labelsPath =
            Path.Combine(Path.GetDirectoryName(lines[0].File)!, Path.GetFileNameWithoutExtension(lines[0].File) + "-labels.lst");
        string[] labels = lines[0].Value.Label is null && File.Exists(labelsPath) ? File.ReadAllLines(labelsPath) : [];
        return lines.Select((line, i) => CreateItem(
            line,
            $"Question: {line.Value.Goal}\nAnswer:",
            "sol2",
            [line.Value.Sol1, line.Value.Sol2],
            i < labels.Length && int.TryParse(labels[i], NumberStyles.None, CultureInfo.InvariantCulture, out int gold)
                ? gold
                : line.Value.Label ?? throw line.Error("label", "it is missing")));
    }

    private static ZeroShotItem CreateHellaSwagItem(JsonLine<HellaSwagLine> line)
    {
        string context = $"{line.Value.ActivityLabel}: {line.Value.CtxA} {HellaSwagText.Capitalize(line.Value.CtxB)}";
        var endings = line.Require("endings", line.Value.Endings);
        return CreateItem(line, HellaSwagText.Clean(context), "endings", [.. endings.Select(HellaSwagText.Clean)], line.Value.Label);
    }

    private static ZeroShotItem CreateWinoGrandeItem(JsonLine<WinoGrandeLine> line)
    {
        string sentence = line.Value.Sentence;
        int gap = sentence.IndexOf('_', StringComparison.Ordinal);
        ZeroShotChoice Fill(string option) => new(sentence[..gap] + option, " " + sentence[(gap + 1)..].Trim());
        return gap < 0 ? throw line.Error("sentence", "it has no gap '_'")
            : line.Value.Answer is not (1 or 2) ? throw line.Error("answer", $"it should be 1 or 2, not {line.Value.Answer}")
            : new ZeroShotItem([Fill(line.Value.Option1), Fill(line.Value.Option2)], line.Value.Answer - 1);
    }

    private static ZeroShotItem CreateItem<T>(JsonLine<T> line, string context, string key, IReadOnlyList<string> answers, int gold) =>
        answers.Count < 2 ? throw line.Error(key, $"there should be two answers or more, not {answers.Count}")
            : gold < 0 || gold >= answers.Count ? throw line.Error("label", $"{gold} is none of the answers 0 to {answers.Count - 1}")
            : new ZeroShotItem([.. answers.Select(answer => new ZeroShotChoice(context, " " + answer))], gold);

    // What is read of a line. The properties are the keys of the published files.
    private sealed record QuestionLine(Question Question, [property: JsonPropertyName("answerKey")] string AnswerKey);

    private sealed record Question(string Stem, IReadOnlyList<QuestionChoice?> Choices);

    private sealed record QuestionChoice(string Text, string Label);

    private sealed record PiqaLine(string Goal, string Sol1, string Sol2, int? Label = null);

    private sealed record HellaSwagLine(string ActivityLabel, string CtxA, string CtxB, IReadOnlyList<string?> Endings, int Label);

    private sealed record WinoGrandeLine(string Sentence, string Option1, string Option2, int Answer);
}
