using System.Globalization;

namespace DispLlm.Evaluation;

/// <summary>
/// How the published files of each task become items: one method a task, with the prompts of EleutherAI's lm-evaluation-harness. An answer stands behind its context and one space.
/// </summary>
internal static class ZeroShotFormats
{
    private static readonly (string Name, Func<IReadOnlyList<JsonLine>, IEnumerable<ZeroShotItem>> Items, bool IsNormalized)[] s_formats =
    [
        ("arc_challenge", lines => lines.Select(Arc), true),
        ("arc_easy", lines => lines.Select(Arc), true),
        ("hellaswag", lines => lines.Select(HellaSwag), true),
        ("openbookqa", lines => lines.Select(OpenBookQa), true),
        ("piqa", Piqa, true),

        // Its two continuations are the same text.
        ("winogrande", lines => lines.Select(WinoGrande), false),
    ];

    public static IReadOnlyList<string> Names { get; } = [.. s_formats.Select(format => format.Name)];

    public static ZeroShotTask Read(string name, string path)
    {
        int format = Array.FindIndex(s_formats, format => format.Name == name);
        if (format < 0)
        {
            throw new EvaluationException($"There is no task '{name}' here: it is one of {string.Join(", ", Names)}, or one of your own.");
        }

        return new ZeroShotTask(name, [.. s_formats[format].Items(JsonLine.ReadAll(path))], s_formats[format].IsNormalized);
    }

    private static ZeroShotItem Arc(JsonLine line) => Question(line, $"Question: {line.Text("question", "stem")}\nAnswer:");

    private static ZeroShotItem OpenBookQa(JsonLine line) => Question(line, line.Text("question", "stem"));

    private static ZeroShotItem Question(JsonLine line, string context)
    {
        var choices = line.List("question", "choices");
        string answer = line.Text("answerKey").TrimStart();
        int gold = choices.ToList().FindIndex(choice => choice.Text("label") == answer);
        return gold < 0
            ? throw line.Broken("answerKey", $"'{answer}' is the label of no choice")
            : Choose(line, context, "question.choices", choices.Select(choice => choice.Text("text")), gold);
    }

    private static IEnumerable<ZeroShotItem> Piqa(IReadOnlyList<JsonLine> lines)
    {
        // It is published with its labels in a file of their own.
        string path = Path.Combine(Path.GetDirectoryName(lines[0].File)!, Path.GetFileNameWithoutExtension(lines[0].File) + "-labels.lst");
        string[] labels = !lines[0].Has("label") && File.Exists(path) ? File.ReadAllLines(path) : [];
        return lines.Select((line, i) => Choose(
            line,
            $"Question: {line.Text("goal")}\nAnswer:",
            "sol2",
            [line.Text("sol1"), line.Text("sol2")],
            i < labels.Length && int.TryParse(labels[i], NumberStyles.None, CultureInfo.InvariantCulture, out int gold) ? gold : line.Number("label")));
    }

    private static ZeroShotItem HellaSwag(JsonLine line)
    {
        string context = line.Text("ctx_a") + " " + HellaSwagText.Capitalized(line.Text("ctx_b"));
        return Choose(
            line,
            HellaSwagText.Cleaned(line.Text("activity_label") + ": " + context),
            "endings",
            line.List("endings").Select(ending => HellaSwagText.Cleaned(ending.Text())),
            line.Number("label"));
    }

    private static ZeroShotItem WinoGrande(JsonLine line)
    {
        string sentence = line.Text("sentence");
        int gap = sentence.IndexOf('_', StringComparison.Ordinal);
        if (gap < 0)
        {
            throw line.Broken("sentence", "it has no gap '_'");
        }

        ZeroShotChoice Filled(string option) => new(sentence[..gap] + line.Text(option), " " + sentence[(gap + 1)..].Trim());
        int answer = line.Number("answer");
        return answer is 1 or 2
            ? new ZeroShotItem([Filled("option1"), Filled("option2")], answer - 1)
            : throw line.Broken("answer", $"it should be 1 or 2, not {answer}");
    }

    private static ZeroShotItem Choose(JsonLine line, string context, string key, IEnumerable<string> answers, int gold)
    {
        var choices = answers.Select(answer => new ZeroShotChoice(context, " " + answer)).ToList();
        return choices.Count < 2
            ? throw line.Broken(key, $"there should be two answers or more, not {choices.Count}")
            : gold < 0 || gold >= choices.Count
            ? throw line.Broken("label", $"{gold} is none of the answers 0 to {choices.Count - 1}")
            : new ZeroShotItem(choices, gold);
    }
}
