namespace DispLlm.Evaluation;

/// <summary>
/// A zero-shot task: items with answers, of which the model should find the right one the most likely. Six come with the library, with the prompts of EleutherAI's
/// lm-evaluation-harness, read from files in their official formats; any other is a name and a list of items. Immutable.
/// </summary>
public sealed class ZeroShotTask
{
    /// <summary>A task of one's own.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="items">Its items, at least one.</param>
    /// <param name="isNormalized">Whether accuracy by log-likelihood per character (<c>acc_norm</c>) makes sense for it.</param>
    /// <exception cref="EvaluationException">There is no item, or one with fewer than two choices, an empty continuation, or a right answer that is none of them.</exception>
    public ZeroShotTask(string name, IReadOnlyList<ZeroShotItem> items, bool isNormalized = true)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentNullException.ThrowIfNull(items);
        Name = name;
        Items = [.. items];
        IsNormalized = isNormalized;
        if (Items.Count == 0)
        {
            throw new EvaluationException($"The task {name} has no items.");
        }

        for (int i = 0; i < Items.Count; i++)
        {
            var (choices, gold) = Items[i];
            if (choices.Count < 2 || gold < 0 || gold >= choices.Count)
            {
                throw new EvaluationException($"Item {i} of the task {name} has {choices.Count} choices, of which number {gold} (from 0) should be right. Give two or more, and one of them.");
            }

            if (choices.Any(choice => choice.Continuation.Length == 0))
            {
                throw new EvaluationException($"Item {i} of the task {name} has an empty continuation: there is nothing to score.");
            }
        }
    }

    /// <summary>The names of the tasks that come with the library, for <see cref="FromFile"/>.</summary>
    public static IReadOnlyList<string> KnownNames => ZeroShotFormats.Names;

    /// <summary>The task's name, as the harness writes it.</summary>
    public string Name { get; }

    /// <summary>Its items, in the file's order.</summary>
    public IReadOnlyList<ZeroShotItem> Items { get; }

    /// <summary>Whether it has an accuracy by log-likelihood per character (<c>acc_norm</c>).</summary>
    public bool IsNormalized { get; }

    /// <summary>ARC-easy, one JSON object a line: <c>question.stem</c>, <c>question.choices</c> with <c>text</c> and <c>label</c>, <c>answerKey</c>.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="EvaluationException">The file is missing or an item is broken: file, line and key are named.</exception>
    public static ZeroShotTask ArcEasy(string path) => FromFile("arc_easy", path);

    /// <summary>ARC-challenge, in the format of <see cref="ArcEasy"/>.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="EvaluationException">The file is missing or an item is broken: file, line and key are named.</exception>
    public static ZeroShotTask ArcChallenge(string path) => FromFile("arc_challenge", path);

    /// <summary>
    /// PIQA, one JSON object a line: <c>goal</c>, <c>sol1</c>, <c>sol2</c>, and <c>label</c>, 0 or 1. Where the items have no label, they stand a line each in the file
    /// that PIQA is published with: <c>valid-labels.lst</c> beside <c>valid.jsonl</c>.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="EvaluationException">A file is missing or an item is broken: file, line and key are named.</exception>
    public static ZeroShotTask Piqa(string path) => FromFile("piqa", path);

    /// <summary>
    /// WinoGrande, one JSON object a line: <c>sentence</c> with a gap <c>_</c>, <c>option1</c>, <c>option2</c>, and <c>answer</c>, 1 or 2. Scored by partial evaluation: how likely
    /// is what follows the gap, behind either option?
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="EvaluationException">The file is missing or an item is broken: file, line and key are named.</exception>
    public static ZeroShotTask WinoGrande(string path) => FromFile("winogrande", path);

    /// <summary>HellaSwag, one JSON object a line: <c>activity_label</c>, <c>ctx_a</c>, <c>ctx_b</c>, <c>endings</c>, and <c>label</c>, from 0. Its texts are cleaned as the harness cleans them.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="EvaluationException">The file is missing or an item is broken: file, line and key are named.</exception>
    public static ZeroShotTask HellaSwag(string path) => FromFile("hellaswag", path);

    /// <summary>OpenBookQA, in the format of <see cref="ArcEasy"/>. The question alone is the context, without a word around it.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="EvaluationException">The file is missing or an item is broken: file, line and key are named.</exception>
    public static ZeroShotTask OpenBookQa(string path) => FromFile("openbookqa", path);

    /// <summary>A task that comes with the library, by its name.</summary>
    /// <param name="name">One of <see cref="KnownNames"/>.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="EvaluationException">There is no such task, the file is missing or an item is broken: file, line and key are named.</exception>
    public static ZeroShotTask FromFile(string name, string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        return ZeroShotFormats.Read(name, path);
    }
}
