namespace DispLlm.Evaluation;

/// <summary>
/// A zero-shot task: questions with answers, one of which is right. Six tasks are built in, with the prompts of EleutherAI's
/// lm-evaluation-harness, and are read from their published files. Any other task is a name and a list of items. Immutable and thread-safe.
/// </summary>
public sealed class ZeroShotTask
{
    /// <summary>Creates a task with both accuracies.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="items">Its items, at least one.</param>
    /// <exception cref="EvaluationException">
    /// There is no item, or one with fewer than two choices, an empty continuation, or a right answer that is none of them.
    /// </exception>
    public ZeroShotTask(string name, IReadOnlyList<ZeroShotItem> items)
        : this(name, items, isNormalized: true)
    {
    }

    /// <summary>Creates a task.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="items">Its items, at least one.</param>
    /// <param name="isNormalized">Whether it has an accuracy by log-likelihood per character (<c>acc_norm</c>).</param>
    /// <exception cref="EvaluationException">
    /// There is no item, or one with fewer than two choices, an empty continuation, or a right answer that is none of them.
    /// </exception>
    public ZeroShotTask(string name, IReadOnlyList<ZeroShotItem> items, bool isNormalized)
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
                throw new EvaluationException(
                    $"Item {i} of the task {name} has {choices.Count} choices, and number {gold} (from 0) is the right one. Give two "
                        + $"choices or more, and one of them.");
            }

            if (choices.Any(choice => choice.Continuation.Length == 0))
            {
                throw new EvaluationException($"Item {i} of the task {name} has an empty continuation.");
            }
        }
    }

    /// <summary>The names of the built-in tasks, for <see cref="FromFile"/>.</summary>
    public static IReadOnlyList<string> KnownNames => ZeroShotFormats.Names;

    /// <summary>The task's name, as in lm-evaluation-harness.</summary>
    public string Name { get; }

    /// <summary>The items, in the order of the file.</summary>
    public IReadOnlyList<ZeroShotItem> Items { get; }

    /// <summary>Whether it has an accuracy by log-likelihood per character (<c>acc_norm</c>).</summary>
    public bool IsNormalized { get; }

    /// <summary>
    /// ARC-easy, one JSON object per line: <c>question.stem</c>, <c>question.choices</c> with <c>text</c> and <c>label</c>,
    /// <c>answerKey</c>.
    /// </summary>
    /// <inheritdoc cref="FromFile" path="/param|/exception"/>
    public static ZeroShotTask ArcEasy(string path) => FromFile("arc_easy", path);

    /// <summary>ARC-challenge, in the format of <see cref="ArcEasy"/>.</summary>
    /// <inheritdoc cref="FromFile" path="/param|/exception"/>
    public static ZeroShotTask ArcChallenge(string path) => FromFile("arc_challenge", path);

    /// <summary>
    /// PIQA, one JSON object per line: <c>goal</c>, <c>sol1</c>, <c>sol2</c>, and <c>label</c>, 0 or 1. Without labels in the lines, they
    /// are read from the second published file: <c>valid-labels.lst</c> next to <c>valid.jsonl</c>.
    /// </summary>
    /// <inheritdoc cref="FromFile" path="/param|/exception"/>
    public static ZeroShotTask Piqa(string path) => FromFile("piqa", path);

    /// <summary>
    /// WinoGrande, one JSON object per line: <c>sentence</c> with a gap <c>_</c>, <c>option1</c>, <c>option2</c>, and <c>answer</c>, 1 or
    /// 2. Scored by partial evaluation: the log-likelihood of the text after the gap, given either option.
    /// </summary>
    /// <inheritdoc cref="FromFile" path="/param|/exception"/>
    public static ZeroShotTask WinoGrande(string path) => FromFile("winogrande", path);

    /// <summary>
    /// HellaSwag, one JSON object per line: <c>activity_label</c>, <c>ctx_a</c>, <c>ctx_b</c>, <c>endings</c>, and <c>label</c>, from 0.
    /// Texts are cleaned as lm-evaluation-harness does.
    /// </summary>
    /// <inheritdoc cref="FromFile" path="/param|/exception"/>
    public static ZeroShotTask HellaSwag(string path) => FromFile("hellaswag", path);

    /// <summary>OpenBookQA, in the format of <see cref="ArcEasy"/>. The context is the question alone.</summary>
    /// <inheritdoc cref="FromFile" path="/param|/exception"/>
    public static ZeroShotTask OpenBookQa(string path) => FromFile("openbookqa", path);

    /// <summary>Reads a built-in task by its name.</summary>
    /// <param name="name">One of <see cref="KnownNames"/>.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="EvaluationException">
    /// No such task, a missing file or an invalid item; file, line, key and value are named.
    /// </exception>
    public static ZeroShotTask FromFile(string name, string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        return ZeroShotFormats.Read(name, path);
    }
}
