using System.Text.Json.Nodes;

namespace DispLlm.Tool.Tests;

public sealed class VerbTests(PrunedWorkplace workplace) : IClassFixture<PrunedWorkplace>
{
    private const string Color = "\u001b\\[(3|4|9)[0-9;]*m";

    [Fact]
    public void Prune_writes_beside_the_model_and_tells_machines_what_it_came_to()
    {
        var json = workplace.Pruned.Json;
        Assert.Equal("./model-pruned-30", (string?)json["output"]);
        Assert.True(File.Exists(Path.Combine(workplace["model-pruned-30"], "model.safetensors")));
        Assert.InRange((double)json["kept_fraction"]!["block_weights"]!, 0.699, 0.7);
        Assert.True((long)json["bytes"]!["pruned"]! < (long)json["bytes"]!["dense"]!);
        Assert.Equal(6, ((JsonArray)json["widths"]!["S4"]!).Count);
        Assert.Contains("Loading ./model", workplace.Pruned.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prune_refuses_to_write_over_what_it_wrote()
    {
        var outcome = (await workplace.RunAsync("prune", "./model", "--ratio", "0.3")).With(1);
        Assert.Contains("./model-pruned-30 is there already", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prune_refuses_a_model_that_is_cut()
    {
        var outcome = (await workplace.RunAsync("prune", "./model-pruned-30")).With(1);
        Assert.Contains("pruned already", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prune_learns_on_text_that_the_model_samples_and_leaves_no_run_behind()
    {
        var outcome = (await workplace.RunAsync("prune", "./model", "--sample", "64", "--window", "16", "--steps", "2", "-o", "learned")).With(0);
        Assert.Contains("Sampling 64 tokens", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("Learning: measuring 32/32", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("Learning: 1/2  loss ", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("Learning: 2/2  loss ", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("The pruned model is in learned", outcome.Out, StringComparison.Ordinal);
        Assert.False(Directory.Exists(workplace["model-pruned-20.run"]));
    }

    [Fact]
    public async Task Prune_keeps_a_run_that_was_named_and_compensates()
    {
        var outcome = (await workplace.RunAsync(
            "prune", "./model", "--text", "text.txt", "--window", "16", "--steps", "2", "--run", "run", "--compensate", "-o", "compensated", "--json", "--quiet")).With(0);
        Assert.Empty(outcome.Error);
        Assert.NotNull(outcome.Json["compensated_blocks"]);
        Assert.Equal(2, File.ReadAllLines(Path.Combine(workplace["run"], "steps.jsonl")).Length);
    }

    [Fact]
    public async Task Apply_gives_the_bytes_that_prune_gave()
    {
        (await workplace.RunAsync("apply", "./model", "./model-pruned-30", "-o", "again")).With(0);
        foreach (string file in Directory.EnumerateFiles(workplace["model-pruned-30"]))
        {
            Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(Path.Combine(workplace["again"], Path.GetFileName(file))));
        }
    }

    [Fact]
    public async Task Inspect_shows_a_dense_folder_and_a_pruned_one()
    {
        var dense = (await workplace.RunAsync("inspect", "model", "--json")).With(0).Json;
        Assert.False((bool)dense["pruned"]!);
        Assert.Equal(4_229_568, (long)dense["dense_parameters"]!);

        var pruned = (await workplace.RunAsync("inspect", "model-pruned-30")).With(0).Out;
        Assert.Contains("Selected by magnitude", pruned, StringComparison.Ordinal);
        Assert.Matches(@"S4 MlpHidden +[▁▂▃▄▅▆▇█]{6} ", pruned);
    }

    [Fact]
    public async Task Inspect_compares_two_plans()
    {
        (await workplace.RunAsync("plan", "./model", "--ratio", "0.5", "--strategy", "random", "-o", "random.json")).With(0);
        var json = (await workplace.RunAsync("inspect", "model-pruned-30", "random.json", "--json")).With(0).Json;
        Assert.False((bool)json["same"]!);
        Assert.True((long)json["only_first"]! > (long)json["only_second"]!);
        Assert.True((long)json["block_weights"]![0]! > (long)json["block_weights"]![1]!);

        string drawn = (await workplace.RunAsync("inspect", "model-pruned-30", "random.json")).With(0).Out;
        Assert.Matches(@"S1 AttentionInput +[▁▂▃▄▅▆▇█]{6} +[▁▂▃▄▅▆▇█]{6} ", drawn);
    }

    [Fact]
    public async Task Eval_measures_models_side_by_side()
    {
        var json = (await workplace.RunAsync(
            "eval", "model", "model-pruned-30", "--sample", "128", "--window", "32", "--json")).With(0).Json;
        var models = (JsonArray)json["models"]!;
        Assert.Equal(["model", "model-pruned-30"], models.Select(model => (string?)model!["folder"]));
        Assert.True((double)models[0]!["perplexity"]! < (double)models[1]!["perplexity"]!);
        Assert.All(models, model => Assert.True((double)model!["read_tokens_per_second"]! > 0 && (double)model["written_tokens_per_second"]! > 0));
    }

    [Fact]
    public async Task Eval_measures_what_it_is_asked_for()
    {
        string table = (await workplace.RunAsync("eval", "model", "model-pruned-30", "--measure", "perplexity", "--text", "text.txt", "--window", "16", "--max-windows", "4")).With(0).Out;
        Assert.Matches(@"perplexity, 60 tokens +\d+\.\d\d +\d+\.\d\d \(\d+\.\d\dx\)", table);
        Assert.DoesNotContain("tokens/s", table, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Eval_scores_tasks_and_agreement()
    {
        File.WriteAllText(
            workplace["items.jsonl"],
            """{"question": {"stem": "What do fish need?", "choices": [{"text": "water", "label": "A"}, {"text": "a hat", "label": "B"}]}, "answerKey": "A"}""");
        var json = (await workplace.RunAsync(
            "eval", "model", "model-pruned-30", "--measure", "tasks", "agreement", "--task", "arc_easy=items.jsonl", "--text", "text.txt", "--window", "16", "--json")).With(0).Json;
        var models = (JsonArray)json["models"]!;
        Assert.All(models, model => Assert.InRange((double)model!["arc_easy_norm"]!, 0, 1));
        Assert.Equal(0, (double)models[0]!["divergence"]!);
        Assert.True((double)models[1]!["divergence"]! > 0);
        Assert.InRange((double)models[1]!["top_match"]!, 0, 0.9999);
        Assert.Contains("name=file", (await workplace.RunAsync("eval", "model", "--task", "arc_easy")).With(2).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Prune_leaves_a_report()
    {
        var json = (await workplace.RunAsync(
            "prune", "./model", "--strategy", "magnitude", "--window", "16", "-o", "reported", "--report", "page.html", "--test", "text.txt", "--json")).With(0).Json;
        Assert.Equal("page.html", (string?)json["report"]);
        Assert.Contains("<svg", File.ReadAllText(workplace["page.html"]), StringComparison.Ordinal);
        var data = JsonNode.Parse(File.ReadAllText(workplace["page.json"]))!;
        double before = (double)data["perplexity"]!["before"]!["perplexity"]!, after = (double)data["perplexity"]!["after"]!["perplexity"]!;
        Assert.True(before > 1 && after > 1 && before != after, $"{before} and {after}");
        Assert.Contains("page.html is there already", (await workplace.RunAsync("prune", "./model", "-o", "other", "--report", "page.html")).With(1).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Generate_writes_the_same_to_people_and_to_machines()
    {
        string[] line = ["generate", "model-pruned-30", "The captain looked", "--tokens", "8", "--temperature", "1", "--seed", "3"];
        string text = (await workplace.RunAsync(line)).With(0).Out;
        var json = (await workplace.RunAsync([.. line, "--json"])).With(0).Json;
        Assert.Equal(text, (string?)json["continuation"] + Environment.NewLine);
        Assert.NotEmpty(text.Trim());
    }

    [Fact]
    public async Task A_terminal_shows_a_line_that_moves_and_no_color_where_none_is_wanted()
    {
        var colored = await ToolProcess.RunOnTerminalAsync(workplace.Folder, wantsColor: true, "plan", "./model", "--strategy", "random", "-o", "drawn.json");
        Assert.SkipWhen(colored is null, "There is no /usr/bin/script to make a terminal.");
        Assert.Matches(Color, colored!.With(0).Out);
        Assert.Contains("\u001b[?25l", colored.Out, StringComparison.Ordinal);    // the cursor hides while the line moves

        var plain = await ToolProcess.RunOnTerminalAsync(workplace.Folder, wantsColor: false, "plan", "./model", "--strategy", "random", "-o", "plain.json");
        Assert.DoesNotMatch(Color, plain!.With(0).Out);
    }
}
