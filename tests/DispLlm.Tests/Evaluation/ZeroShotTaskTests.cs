namespace DispLlm.Tests.Evaluation;

/// <summary>Published files are read into items; errors name what is invalid.</summary>
public sealed class ZeroShotTaskTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void ARC_has_a_question_prompt_and_finds_the_answer_by_label()
    {
        var task = ZeroShotTask.ArcEasy(WriteLines("""
            {"id": "a", "question": {"stem": "What falls?", "choices": [{"text": "rain", "label": "1"}, {"text": "a plan", "label": "2"}, {"text": "noon", "label": "3"}]}, "answerKey": "3"}
            """));
        var item = Assert.Single(task.Items);
        Assert.Equal(2, item.Gold);
        Assert.Equal(new ZeroShotChoice("Question: What falls?\nAnswer:", " a plan"), item.Choices[1]);
        Assert.Equal("arc_easy", task.Name);
    }

    [Fact]
    public void OpenBookQA_has_the_question_as_context()
    {
        var task = ZeroShotTask.OpenBookQa(WriteLines("""
            {"question": {"stem": "A kettle is", "choices": [{"text": "hot", "label": "A"}, {"text": "blue", "label": "B"}]}, "answerKey": " A"}
            """));
        Assert.Equal(new ZeroShotChoice("A kettle is", " hot"), task.Items[0].Choices[0]);
        Assert.Equal(0, task.Items[0].Gold);
    }

    [Fact]
    public void WinoGrande_scores_the_text_after_the_gap_for_both_options()
    {
        var task = ZeroShotTask.WinoGrande(WriteLines("""
            {"sentence": "The cup left the shelf because the _ was too narrow .", "option1": "cup", "option2": "shelf", "answer": "2"}
            """));
        Assert.Equal(
            [
                new ZeroShotChoice("The cup left the shelf because the cup", " was too narrow ."),
                new ZeroShotChoice("The cup left the shelf because the shelf", " was too narrow ."),
            ],
            task.Items[0].Choices);
        Assert.Equal(1, task.Items[0].Gold);
        Assert.False(task.IsNormalized);
    }

    [Fact]
    public void PIQA_labels_are_read_from_lines_or_from_the_second_file()
    {
        string line = """{"goal": "Dry a pan", "sol1": "Wipe it ", "sol2": "Sink it"LABEL}""";
        var inside = ZeroShotTask.Piqa(WriteLines(line.Replace("LABEL", ", \"label\": 1", StringComparison.Ordinal)));
        Assert.Equal(1, inside.Items[0].Gold);

        // lm-evaluation-harness keeps the space at the end of an answer.
        Assert.Equal(new ZeroShotChoice("Question: Dry a pan\nAnswer:", " Wipe it "), inside.Items[0].Choices[0]);

        string bare = line.Replace("LABEL", string.Empty, StringComparison.Ordinal);
        File.WriteAllText(_folder.Below("valid.jsonl"), $"{bare}\n{bare}\n");
        File.WriteAllText(_folder.Below("valid-labels.lst"), "0\n1\n");
        Assert.Equal([0, 1], ZeroShotTask.Piqa(_folder.Below("valid.jsonl")).Items.Select(item => item.Gold));
    }

    [Theory]
    [InlineData("3")]
    [InlineData("\"3\"")]
    public void HellaSwag_is_cleaned_as_in_lm_evaluation_harness(string label)
    {
        var task = ZeroShotTask.HellaSwag(WriteLines($$"""
            {"ind": 4, "activity_label": "Mending a Net", "ctx_a": "[header] How to mend a net [title] Find the hole. [step] Hold it up.", "ctx_b": "the Light", "split": "val",
            """.TrimEnd() + $$"""
             "endings": ["comes through [substeps] it.", "[step] Sit  down.", "is  out", "goes [title] Wait."], "label": {{label}}}
            """.TrimStart()));
        var item = task.Items[0];
        Assert.Equal(3, item.Gold);
        Assert.Equal("Mending a Net: How to mend a net. Find the hole. Hold it up. The light", item.Choices[0].Context);
        Assert.Equal([" comes through it.", "  Sit down.", " is out", " goes. Wait."], item.Choices.Select(choice => choice.Continuation));
    }

    [Theory]
    [InlineData(
        "arc_easy",
        """{"question": {"stem": "?", "choices": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]}, "answerKey": "D"}""",
        "'answerKey'", "'D'")]
    [InlineData("arc_easy", """{"question": {"choices": []}, "answerKey": "D"}""", "question", "'stem'")]
    [InlineData("arc_easy", """{"question": {"stem": 3, "choices": []}, "answerKey": "D"}""", "question.stem", "is 3")]
    [InlineData(
        "arc_easy", """{"question": {"stem": "?", "choices": [{"label": "A"}]}, "answerKey": "A"}""", "question.choices[0]", "'text'")]
    [InlineData("piqa", """{"goal": "g", "sol1": "a", "sol2": "b", "label": 2}""", "'label'", "2")]
    [InlineData("piqa", """{"goal": "g", "sol1": "a", "sol2": "b"}""", "'label'", "missing")]
    [InlineData("winogrande", """{"sentence": "No gap.", "option1": "a", "option2": "b", "answer": "1"}""", "'sentence'", "gap")]
    [InlineData("winogrande", """{"sentence": "A _.", "option1": "a", "option2": "b", "answer": "?"}""", "answer is", "\"?\"")]
    [InlineData(
        "hellaswag", """{"activity_label": "a", "ctx_a": "b", "ctx_b": "", "endings": "none", "label": 0}""", "endings is", "\"none\"")]
    [InlineData(
        "hellaswag", """{"activity_label": "a", "ctx_a": "b", "ctx_b": "", "endings": ["c", null], "label": 0}""", "'endings[1]'", "null")]
    [InlineData("hellaswag", """{"activity_label": "a", "ctx_a": "b", "ctx_a": "b", "ctx_b": "", "endings": ["c", "d"], "label": 0}""",
        "ctx_a", "twice")]
    [InlineData("piqa", """{"goal": null, "sol1": "a", "sol2": "b", "label": 1}""", "goal", "null")]
    [InlineData("openbookqa", "{\"question\": ", "JSON", "JSON Lines")]
    [InlineData("openbookqa", "[1]", "a list", "JSON Lines")]
    [InlineData("openbookqa", "null", "null", "JSON Lines")]
    public void An_invalid_item_is_named_by_file_line_key_and_value(string name, string line, string key, string problem)
    {
        var good = new Dictionary<string, string>
        {
            ["arc_easy"] =
                """{"question": {"stem": "?", "choices": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]}, "answerKey": "A"}""",
            ["piqa"] = """{"goal": "g", "sol1": "a", "sol2": "b", "label": 1}""",
            ["winogrande"] = """{"sentence": "A _.", "option1": "a", "option2": "b", "answer": "1"}""",
            ["hellaswag"] = """{"activity_label": "a", "ctx_a": "b", "ctx_b": "", "endings": ["c", "d"], "label": 0}""",
        };
        good["openbookqa"] = good["arc_easy"];
        string path = WriteLines(good[name] + "\n" + line);
        var error = Assert.Throws<EvaluationException>(() => ZeroShotTask.FromFile(name, path));
        Assert.StartsWith($"{path}, line 2:", error.Message, StringComparison.Ordinal);
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        Assert.Contains(problem, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_and_an_unknown_task_are_named()
    {
        Assert.Contains("nowhere.jsonl", Assert.Throws<EvaluationException>(
            () => ZeroShotTask.ArcEasy(_folder.Below("nowhere.jsonl"))).Message, StringComparison.Ordinal);
        var unknown = Assert.Throws<EvaluationException>(() => ZeroShotTask.FromFile("mmlu", "mmlu.jsonl"));
        Assert.Contains("'mmlu'", unknown.Message, StringComparison.Ordinal);
        Assert.All(ZeroShotTask.KnownNames, name => Assert.Contains(name, unknown.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void A_custom_task_is_validated()
    {
        var choice = new ZeroShotChoice("a", " b");
        Assert.Contains("Item 0", Assert.Throws<EvaluationException>(
            () => new ZeroShotTask("custom", [new ZeroShotItem([choice], 0)])).Message, StringComparison.Ordinal);
        Assert.Contains("number 2", Assert.Throws<EvaluationException>(
            () => new ZeroShotTask("custom", [new ZeroShotItem([choice, choice], 2)])).Message, StringComparison.Ordinal);
        Assert.Throws<EvaluationException>(
            () => new ZeroShotTask("custom", [new ZeroShotItem([choice, choice with { Continuation = "" }], 0)]));
        Assert.Throws<EvaluationException>(() => new ZeroShotTask("custom", []));
    }

    [Theory]
    [InlineData(
        "arc_easy",
        """{"id": "a", "question": "What falls?", "choices": {"text": ["rain", "a plan", "noon"], "label": ["A", "B", "C"]}, "answerKey": "C"}""",
        """{"id": "a", "question": {"stem": "What falls?", "choices": [{"text": "rain", "label": "A"}, {"text": "a plan", "label": "B"}, {"text": "noon", "label": "C"}]}, "answerKey": "C"}""")]
    [InlineData(
        "arc_challenge",
        """{"question": "Why?", "choices": {"text": ["so", "else", "none"], "label": ["1", "2", "3"]}, "answerKey": "2"}""",
        """{"question": {"stem": "Why?", "choices": [{"text": "so", "label": "A"}, {"text": "else", "label": "B"}, {"text": "none", "label": "C"}]}, "answerKey": "B"}""")]
    [InlineData(
        "arc_challenge",
        """{"question": "Why?", "choices": {"text": ["so", "else"], "label": [1, 2]}, "answerKey": 2}""",
        """{"question": {"stem": "Why?", "choices": [{"text": "so", "label": "1"}, {"text": "else", "label": "2"}]}, "answerKey": "B"}""")]
    [InlineData(
        "openbookqa",
        """{"id": "7-980", "question_stem": "A kettle is", "choices": {"text": ["hot", "blue"], "label": ["A", "B"]}, "answerKey": "A", "fact1": "f", "humanScore": 1.0, "turkIdAnonymized": "b"}""",
        """{"id": "7-980", "question": {"stem": "A kettle is", "choices": [{"text": "hot", "label": "A"}, {"text": "blue", "label": "B"}]}, "answerKey": "A"}""")]
    [InlineData(
        "piqa",
        """{"goal": "Dry a pan", "sol1": "Wipe it", "sol2": "Sink it", "label": "1"}""",
        """{"goal": "Dry a pan", "sol1": "Wipe it", "sol2": "Sink it", "label": 1}""")]
    [InlineData(
        "winogrande",
        """{"sentence": "The cup left the shelf because the _ was narrow.", "option1": "cup", "option2": "shelf", "answer": 2}""",
        """{"sentence": "The cup left the shelf because the _ was narrow.", "option1": "cup", "option2": "shelf", "answer": "2"}""")]
    [InlineData(
        "hellaswag",
        """{"ind": 24, "activity_label": "Roof", "ctx_a": "A man sits.", "ctx_b": "he", "ctx": "A man sits. he", "endings": ["falls.", "sings."], "source_id": "a~v", "split": "val", "split_type": "indomain", "label": "1"}""",
        """{"ind": 24, "activity_label": "Roof", "ctx_a": "A man sits.", "ctx_b": "he", "endings": ["falls.", "sings."], "label": 1}""")]
    public void Rows_of_the_hub_are_those_of_the_official_file(string name, string row, string official)
    {
        var expected = Describe(ZeroShotTask.FromFile(name, WriteLines(official)));
        Assert.Equal(expected, Describe(ZeroShotTask.FromFile(name, WriteLines(row))));

        // As the server of the data sets returns them: one row, and a page of rows.
        string wrapped = $$"""{"row_idx": 0, "row": {{row}}, "truncated_cells": []}""";
        Assert.Equal(expected, Describe(ZeroShotTask.FromFile(name, WriteLines(wrapped))));
        string page = $$"""{"features": [{"name": "id"}], "rows": [{{wrapped}}, {{wrapped}}], "num_rows_total": 2, "partial": false}""";
        Assert.Equal([.. expected, .. expected], Describe(ZeroShotTask.FromFile(name, WriteLines(page))));
    }

    [Fact]
    public void A_row_of_the_hub_has_the_prompt_of_the_official_file()
    {
        var item = Assert.Single(ZeroShotTask.ArcEasy(SharedData.Path("failing/15-task-rows-of-the-hub/arc_easy.jsonl")).Items);
        Assert.Equal(0, item.Gold);
        Assert.Equal(
            [" rain", " sand", " rock", " dust"], item.Choices.Select(choice => choice.Continuation));
        Assert.All(item.Choices, choice => Assert.Equal("Question: Which of these is wet?\nAnswer:", choice.Context));
    }

    [Theory]
    [InlineData("""{"question": "?", "choices": {"text": ["a", "b"], "label": ["A"]}, "answerKey": "A"}""", "'choices'", "2 texts and 1 labels")]
    [InlineData("""{"question": "?", "choices": {"text": ["a", null], "label": ["A", "B"]}, "answerKey": "A"}""", "'choices.text[1]'", "null")]
    [InlineData("""{"choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"}""", "'question'", "missing")]
    [InlineData("""{"question": "?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "E"}""", "'answerKey'", "'E'")]
    [InlineData("""{"question": "?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": ""}""", "'answerKey'", "''")]
    [InlineData("""{"question": "?", "choices": {"text": "a", "label": ["A", "B"]}, "answerKey": "A"}""", "choices.text", "\"a\"")]
    [InlineData("""{"question": "?", "choices": {"text": ["a", "b"], "label": ["A", {}]}, "answerKey": "A"}""", "choices.label[1]", "JSON Lines")]
    [InlineData("""{"row_idx": 0, "row": {"question": "?"}, "truncated_cells": ["question"]}""", "'truncated_cells'", "cut")]
    public void An_invalid_row_of_the_hub_is_named_by_file_line_key_and_value(string line, string key, string problem)
    {
        string path = WriteLines(line);
        string message = Assert.Throws<EvaluationException>(() => ZeroShotTask.ArcEasy(path)).Message;
        Assert.StartsWith($"{path}, line 1:", message, StringComparison.Ordinal);
        Assert.Contains(key, message, StringComparison.Ordinal);
        Assert.Contains(problem, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("PAR1\u0015\u0004", "Parquet")]
    [InlineData("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull")]
    public void A_file_of_another_kind_is_named_with_the_remedy(string text, string expected)
    {
        string path = WriteLines(text);
        string message = Assert.Throws<EvaluationException>(() => ZeroShotTask.Piqa(path)).Message;
        Assert.StartsWith(path, message, StringComparison.Ordinal);
        Assert.Contains(expected, message, StringComparison.Ordinal);
    }

    private static string[] Describe(ZeroShotTask task) => [.. task.Items.Select(
        item => $"{item.Gold}: {string.Join(" | ", item.Choices.Select(choice => $"{choice.Context}>{choice.Continuation}"))}")];

    private string WriteLines(string lines)
    {
        string path = _folder.Below("items.jsonl");
        File.WriteAllText(path, lines + "\n");
        return path;
    }
}
