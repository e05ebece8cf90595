using System.Text.Json.Nodes;

namespace DispLlm.Tool.Tests;

/// <summary><c>eval</c> of models that do not share a tokenizer, and what it prints beside an accuracy.</summary>
public sealed class EvalTests(TestFolder folder) : IClassFixture<TestFolder>
{
    [Fact]
    public async Task Each_model_reads_the_text_by_its_own_tokenizer()
    {
        string[] line = ["eval", Two("a"), Two("b"), "--text", Two("text.txt"), "--window", "32", "--measure", "perplexity"];
        var models = (JsonArray)(await folder.RunAsync([.. line, "--json"])).With(0).Json["models"]!;
        Assert.All(models, model => Assert.Equal(1022.33, (double)model!["perplexity"]!, 0.005));
        Assert.Equal((double)models[0]!["bits_per_byte"]!, (double)models[1]!["bits_per_byte"]!, 1e-6);

        // Perplexities per token are not compared, those per byte are.
        string table = (await folder.RunAsync(line)).With(0).Out;
        Assert.Matches(@"perplexity, 1,550 tokens +1022\.33 +1022\.33  ", table);
        Assert.Matches(@"bits per byte +\d\.\d{4} +\d\.\d{4} \(1\.00x\)", table);
    }

    [Fact]
    public async Task Agreement_of_different_vocabularies_is_refused_before_anything_is_measured()
    {
        string[] line = ["eval", Two("a"), Two("b"), "--text", Two("text.txt"), "--window", "32"];
        var refused = (await folder.RunAsync([.. line, "--measure", "perplexity", "agreement"])).With(1);
        Assert.Contains("'--measure agreement'", refused.Error, StringComparison.Ordinal);
        Assert.Contains("different vocabularies", refused.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Loading", refused.Error, StringComparison.Ordinal);

        // Where it was not asked for by name, the rest is measured.
        var rest = (await folder.RunAsync([.. line, "--json"])).With(0);
        Assert.Contains("Without agreement", rest.Error, StringComparison.Ordinal);
        Assert.All((JsonArray)rest.Json["models"]!, model => Assert.Null(model!["divergence"]));
        Assert.All((JsonArray)rest.Json["models"]!, model => Assert.NotNull(model!["read_tokens_per_second"]));
    }

    [Fact]
    public async Task Text_that_the_first_model_generates_is_read_by_the_others_as_text()
    {
        var models = (JsonArray)(await folder.RunAsync(
            "eval", Two("a"), Two("b"), "--sample", "200", "--window", "32", "--measure", "perplexity", "--json")).With(0).Json["models"]!;
        Assert.Equal((double)models[0]!["perplexity"]!, (double)models[1]!["perplexity"]!, 1e-2);
    }

    [Fact]
    public async Task A_folder_without_a_tokenizer_is_read_by_that_of_the_first()
    {
        Directory.CreateDirectory(folder["bare"]);
        foreach (string file in (string[])["config.json", "model.safetensors"])
        {
            File.Copy(Path.Combine(folder["model"], file), Path.Combine(folder["bare"], file), overwrite: true);
        }

        File.WriteAllText(folder["item.jsonl"], """{"goal": "Eat", "sol1": "food", "sol2": "a hat", "label": 0}""");
        var models = (JsonArray)(await folder.RunAsync(
            "eval", "model", "bare", "--text", "text.txt", "--window", "32", "--max-windows", "3", "--measure", "perplexity", "agreement",
            "tasks", "--task", "piqa=item.jsonl", "--json")).With(0).Json["models"]!;
        Assert.Equal((double)models[0]!["perplexity"]!, (double)models[1]!["perplexity"]!);
        Assert.Equal((double)models[0]!["bits_per_byte"]!, (double)models[1]!["bits_per_byte"]!);
        Assert.Equal(1, (double)models[1]!["top_match"]!);
        Assert.Equal((double)models[0]!["piqa"]!, (double)models[1]!["piqa"]!);
    }

    [Theory]
    [InlineData("auto", 0.3, 0.3)]
    [InlineData("always", 0.3, 0.3)]
    [InlineData("never", 0.4, 0.35)]
    public async Task Tasks_have_a_begin_of_text_token_errors_chance_and_items(string bos, double accuracy, double normalized)
    {
        string model = SharedData.Path("failing/12-zero-shot-begin-of-text"), file = Path.Combine(model, "piqa.jsonl");
        string[] line = ["eval", model, "--measure", "tasks", "--task", $"piqa={file}", "--bos", bos];
        var json = (await folder.RunAsync([.. line, "--json"])).With(0).Json;
        var values = json["models"]![0]!;
        Assert.Equal((accuracy, normalized), ((double)values["piqa"]!, (double)values["piqa_norm"]!));
        Assert.Equal(Math.Sqrt(accuracy * (1 - accuracy) / 19), (double)values["piqa_stderr"]!, 1e-12);
        Assert.Equal(Math.Sqrt(normalized * (1 - normalized) / 19), (double)values["piqa_norm_stderr"]!, 1e-12);
        Assert.Equal((20, 0.5), ((int)json["tasks"]!["piqa"]!["items"]!, (double)json["tasks"]!["piqa"]!["chance"]!));

        string table = (await folder.RunAsync(line)).With(0).Out;
        Assert.Matches(@"piqa, 20 items, chance 50\.0 % +\d+\.0 % ± 1[01]\.\d %", table);
        Assert.Matches(@"piqa, normalized by length +\d+\.0 % ± 1[01]\.\d %", table);
    }

    [Fact]
    public async Task A_single_item_has_no_standard_error()
    {
        string file = SharedData.Path("failing/15-task-rows-of-the-hub/arc_easy.jsonl");
        string[] line = ["eval", "model", "--measure", "tasks", "--task", $"arc_easy={file}"];
        var json = (await folder.RunAsync([.. line, "--json"])).With(0).Json;
        Assert.Null(json["models"]![0]!["arc_easy_stderr"]);
        Assert.Equal(0.25, (double)json["tasks"]!["arc_easy"]!["chance"]!);
        Assert.DoesNotContain("±", (await folder.RunAsync(line)).With(0).Out, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--task piqa=none.jsonl", "none.jsonl")]
    [InlineData("--task piqa=text.txt", "line 1")]
    [InlineData("--text none.txt", "none.txt")]
    [InlineData("--text empty.txt", "empty")]
    public async Task Files_are_read_before_a_model_is_loaded(string options, string expected)
    {
        File.WriteAllText(folder["empty.txt"], string.Empty);
        var outcome = (await folder.RunAsync(["eval", "model", .. options.Split(' ')])).With(1);
        Assert.Contains(expected, outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Loading", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_text_that_is_too_short_is_refused_before_a_model_is_loaded()
    {
        File.WriteAllText(folder["short.txt"], "Too short.");
        var outcome = (await folder.RunAsync("eval", "model", "--text", "short.txt", "--window", "32")).With(1);
        Assert.Contains("fewer than one window", outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Loading", outcome.Error, StringComparison.Ordinal);
    }

    private static string Two(string name) => SharedData.Path("failing/01-eval-two-tokenizers", name);
}
