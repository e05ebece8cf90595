using System.Text.Json.Nodes;

namespace DispLlm.Tool.Tests;

public sealed class CommandTests(PrunedModelFolder folder) : IClassFixture<PrunedModelFolder>
{
    private const string Color = "\u001b\\[(3|4|9)[0-9;]*m";

    [Fact]
    public async Task Families_lists_every_model_type_that_is_read()
    {
        var families = (JsonArray)(await folder.RunAsync("families", "--json")).With(0).Json["families"]!;
        Assert.Equal(
            ModelFamilies.BuiltIn.ModelTypes,
            families.SelectMany(family => (JsonArray)family!["model_types"]!).Select(type => (string)type!).Order(StringComparer.Ordinal));
        string text = (await folder.RunAsync("families")).With(0).Out;
        Assert.All(ModelFamilies.BuiltIn.ModelTypes, type => Assert.Contains(type, text, StringComparison.Ordinal));
    }

    [Fact]
    public void Prune_writes_next_to_the_model_and_prints_json()
    {
        var json = folder.Pruned.Json;
        Assert.Equal("./model-pruned-30", (string?)json["output"]);
        Assert.True(File.Exists(Path.Combine(folder["model-pruned-30"], "model.safetensors")));
        Assert.InRange((double)json["kept_fraction"]!["block_weights"]!, 0.699, 0.7);
        Assert.True((long)json["bytes"]!["pruned"]! < (long)json["bytes"]!["dense"]!);
        Assert.Equal(6, ((JsonArray)json["widths"]!["S4"]!).Count);
        Assert.Contains("Loading ./model", folder.Pruned.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prune_does_not_overwrite()
    {
        var outcome = (await folder.RunAsync("prune", "./model", "--ratio", "0.3")).With(1);
        Assert.Contains("./model-pruned-30 already exists", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prune_refuses_a_pruned_model()
    {
        var outcome = (await folder.RunAsync("prune", "./model-pruned-30")).With(1);
        Assert.Contains("pruned already", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prune_trains_on_generated_text_and_removes_its_run()
    {
        var outcome = (await folder.RunAsync(
            "prune", "./model", "--sample", "64", "--sequence-length", "16", "--steps", "2", "-o", "learned")).With(0);
        Assert.Contains("Generating 64 tokens", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("Learning: measuring 32/32", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("Learning: 1/2  loss ", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("Learning: 2/2  loss ", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("The pruned model is in learned", outcome.Out, StringComparison.Ordinal);
        Assert.False(Directory.Exists(folder["model-pruned-20.run"]));
    }

    [Fact]
    public async Task Prune_keeps_a_named_run_and_reconstructs()
    {
        var outcome = (await folder.RunAsync(
            "prune", "./model", "--text", "text.txt", "--sequence-length", "16", "--steps", "2", "--run", "run", "--reconstruct", "-o",
            "reconstructed", "--json", "--quiet")).With(0);
        Assert.Empty(outcome.Error);
        Assert.NotNull(outcome.Json["compensated_blocks"]);
        Assert.Equal(2, File.ReadAllLines(Path.Combine(folder["run"], "steps.jsonl")).Length);
    }

    [Fact]
    public async Task Apply_gives_the_bytes_of_prune()
    {
        (await folder.RunAsync("apply", "./model", "./model-pruned-30", "-o", "again")).With(0);
        foreach (string file in Directory.EnumerateFiles(folder["model-pruned-30"]))
        {
            Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(Path.Combine(folder["again"], Path.GetFileName(file))));
        }
    }

    [Fact]
    public async Task Inspect_shows_a_dense_folder_and_a_pruned_one()
    {
        var dense = (await folder.RunAsync("inspect", "model", "--json")).With(0).Json;
        Assert.False((bool)dense["pruned"]!);
        Assert.Equal(4_229_568, (long)dense["dense_parameters"]!);

        var pruned = (await folder.RunAsync("inspect", "model-pruned-30")).With(0).Out;
        Assert.Contains("Selected by magnitude", pruned, StringComparison.Ordinal);
        Assert.Matches(@"S4 MlpHidden +[▁▂▃▄▅▆▇█]{6} ", pruned);
    }

    [Fact]
    public async Task Inspect_compares_two_plans()
    {
        (await folder.RunAsync("plan", "./model", "--ratio", "0.5", "--strategy", "random", "-o", "random.json")).With(0);
        var json = (await folder.RunAsync("inspect", "model-pruned-30", "random.json", "--json")).With(0).Json;
        Assert.False((bool)json["same"]!);
        Assert.True((long)json["only_first"]! > (long)json["only_second"]!);
        Assert.True((long)json["block_weights"]![0]! > (long)json["block_weights"]![1]!);

        string drawn = (await folder.RunAsync("inspect", "model-pruned-30", "random.json")).With(0).Out;
        Assert.Matches(@"S1 AttentionInput +[▁▂▃▄▅▆▇█]{6} +[▁▂▃▄▅▆▇█]{6} ", drawn);
    }

    [Fact]
    public async Task Eval_compares_models()
    {
        var json = (await folder.RunAsync(
            "eval", "model", "model-pruned-30", "--sample", "128", "--window", "32", "--json")).With(0).Json;
        var models = (JsonArray)json["models"]!;
        Assert.Equal(["model", "model-pruned-30"], models.Select(model => (string?)model!["folder"]));
        Assert.True((double)models[0]!["perplexity"]! < (double)models[1]!["perplexity"]!);
        Assert.All(models, model => Assert.Equal(
            ["folder", "parameters", "perplexity", "loss", "perplexity_per_byte", "bits_per_byte", "divergence", "top_match",
                "read_tokens_per_second", "written_tokens_per_second"],
            ((JsonObject)model!).Select(entry => entry.Key)));
    }

    [Fact]
    public async Task Eval_runs_only_the_requested_evaluations()
    {
        string table = (await folder.RunAsync("eval", "model", "model-pruned-30", "--measure", "perplexity", "--text", "text.txt",
            "--window", "16", "--max-windows", "4")).With(0).Out;
        Assert.Matches(@"perplexity, 60 tokens +\d+\.\d\d +\d+\.\d\d \(\d+\.\d\dx\)", table);
        Assert.DoesNotContain("tokens/s", table, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Eval_evaluates_tasks_and_agreement()
    {
        // The same question with either answer: every model is right once.
        string item =
            """{"question": {"stem": "What do fish need?", "choices": [{"text": "water", "label": "A"}, {"text": "a hat", "label": "B"}]}, "answerKey": "A"}""";
        File.WriteAllLines(
            folder["items.jsonl"], [item, item.Replace("\"answerKey\": \"A\"", "\"answerKey\": \"B\"", StringComparison.Ordinal)]);
        var json = (await folder.RunAsync(
            "eval", "model", "model-pruned-30", "--measure", "tasks", "agreement", "--task", "arc_easy=items.jsonl", "--text", "text.txt",
            "--window", "16", "--json")).With(0).Json;
        var models = (JsonArray)json["models"]!;
        Assert.All(models, model => Assert.Equal((0.5, 0.5), ((double)model!["arc_easy"]!, (double)model["arc_easy_norm"]!)));
        Assert.Equal(0, (double)models[0]!["divergence"]!);
        Assert.True((double)models[1]!["divergence"]! > 0);
        Assert.InRange((double)models[1]!["top_match"]!, 0, 0.9999);
        Assert.Contains(
            "name=file", (await folder.RunAsync("eval", "model", "--task", "arc_easy")).With(2).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prune_writes_a_report()
    {
        var json = (await folder.RunAsync(
            "prune", "./model", "--strategy", "magnitude", "--sequence-length", "16", "-o", "reported", "--report", "page.html", "--test",
            "text.txt", "--json")).With(0).Json;
        Assert.Equal("page.html", (string?)json["report"]);
        Assert.Contains("<svg", File.ReadAllText(folder["page.html"]), StringComparison.Ordinal);
        var data = JsonNode.Parse(File.ReadAllText(folder["page.json"]))!;
        double before = (double)data["perplexity"]!["before"]!["perplexity"]!, after = (double)data["perplexity"]!["after"]!["perplexity"]!;
        Assert.True(before > 1 && after > 1 && before != after, $"{before} and {after}");
        Assert.Contains("page.html already exists",
            (await folder.RunAsync("prune", "./model", "-o", "other", "--report", "page.html")).With(1).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Generate_gives_the_same_text_and_json()
    {
        string[] line = ["generate", "model-pruned-30", "The captain looked", "--tokens", "8", "--temperature", "1", "--seed", "3"];
        string text = (await folder.RunAsync(line)).With(0).Out;
        var json = (await folder.RunAsync([.. line, "--json"])).With(0).Json;
        Assert.Equal(text, (string?)json["continuation"] + Environment.NewLine);
        Assert.NotEmpty(text.Trim());
    }

    [Fact]
    public async Task A_terminal_shows_live_progress_and_respects_NO_COLOR()
    {
        var colored = await ToolProcess.RunOnTerminalAsync(
            folder.Folder, wantsColor: true, "plan", "./model", "--strategy", "random", "-o", "drawn.json");
        Assert.SkipWhen(colored is null, "There is no /usr/bin/script to make a terminal.");
        Assert.Matches(Color, colored!.With(0).Out);
        Assert.Contains("\u001b[?25l", colored.Out, StringComparison.Ordinal);    // The cursor is hidden.

        var plain = await ToolProcess.RunOnTerminalAsync(
            folder.Folder, wantsColor: false, "plan", "./model", "--strategy", "random", "-o", "plain.json");
        Assert.DoesNotMatch(Color, plain!.With(0).Out);
    }
}
