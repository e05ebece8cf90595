using DispLlm.Checkpoints;
using DispLlm.Modeling;
using Spectre.Console;

namespace DispLlm.Tool.Tests;

/// <summary>Tables fit the terminal, and a usual one where the output is redirected.</summary>
public sealed class TableTests(TestFolder folder) : IClassFixture<TestFolder>
{
    private const int Redirected = 120;

    [Theory]
    [InlineData(6, 80, 1)]
    [InlineData(32, 80, 2)]
    [InlineData(32, 100, 1)]
    [InlineData(80, 80, 3)]
    [InlineData(80, 200, 1)]
    [InlineData(126, 80, 5)]
    [InlineData(126, 60, 12)]
    public void Bars_are_binned_to_the_width(int blocks, int width, int blocksPerBar)
    {
        var plan = CreatePlan(blocks);
        string[] lines = Draw(width, console => WidthTable.Draw(console, plan));
        Assert.All(lines, line => Assert.True(line.Length <= width, $"{line.Length} columns: {line}"));
        string[] bars = [.. lines.Where(line => line.Contains("S4 ", StringComparison.Ordinal))];
        Assert.Equal((blocks + blocksPerBar - 1) / blocksPerBar, Assert.Single(bars).Count(IsBar));
        Assert.Equal(blocksPerBar > 1, lines.Any(line => line.Contains($"{blocksPerBar} blocks", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_bar_is_the_mean_of_its_blocks()
    {
        var plan = CreatePlan(8);
        string single = WidthTable.DrawBars(plan, SelectionSite.MlpHidden, 1);
        string pairs = WidthTable.DrawBars(plan, SelectionSite.MlpHidden, 2);
        Assert.Equal((8, 4), (single.Length, pairs.Length));
        for (int i = 0; i < pairs.Length; i++)
        {
            Assert.InRange(pairs[i], (char)Math.Min(single[2 * i], single[2 * i + 1]), (char)Math.Max(single[2 * i], single[2 * i + 1]));
        }
    }

    [Fact]
    public async Task Redirected_tables_of_a_deep_model_are_as_wide_as_a_usual_terminal()
    {
        CreatePlan(126).Save(folder["one.json"]);
        CreatePlan(126, seed: 1).Save(folder["two.json"]);
        foreach (string[] line in (string[][])[["inspect", "one.json"], ["inspect", "one.json", "two.json"]])
        {
            string drawn = (await folder.RunAsync(line)).With(0).Out;
            Assert.Equal(6, drawn.Split('\n').Count(row => row.Any(IsBar)));
            Assert.All(drawn.Split('\n').Where(row => row.Any(IsBar)), row => Assert.InRange(row.TrimEnd().Length, 1, Redirected));
        }
    }

    [Fact]
    public async Task Models_that_do_not_fit_side_by_side_are_shown_below_one_another()
    {
        string[] models = [.. Enumerable.Repeat("model", 12)];
        string drawn = (await folder.RunAsync(
            ["eval", .. models, "--measure", "perplexity", "--text", "text.txt", "--window", "8", "--max-windows", "1"])).With(0).Out;
        string[] rows = [.. drawn.Split('\n').Where(row => row.Contains("bits per byte", StringComparison.Ordinal))];
        Assert.InRange(rows.Length, 2, 12);
        Assert.Equal(11, rows.Sum(row => row.Split("(1.00x)").Length - 1));
        Assert.All(drawn.Split('\n'), row => Assert.InRange(row.TrimEnd().Length, 0, Redirected));
    }

    private static bool IsBar(char c) => c is >= '▁' and <= '█';

    private static SelectionPlan CreatePlan(int blocks, long seed = 0)
    {
        using var model = PrunableModel.FromConfig(ModelConfig.Parse(
            $$"""
            {"model_type": "llama", "vocab_size": 16, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": {{blocks}},
             "num_attention_heads": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-5}
            """,
            "config.json"));
        var request = new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.4), Seed = seed };
        return new RandomSelection().SelectAsync(request, CancellationToken.None).GetAwaiter().GetResult().Plan;
    }

    private static string[] Draw(int width, Action<IAnsiConsole> draw)
    {
        using var writer = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, Out = new AnsiConsoleOutput(writer) });
        console.Profile.Width = width;
        draw(console);
        return [.. writer.ToString().Split('\n').Select(line => line.TrimEnd())];
    }
}
