namespace DispLlm.Tool.Tests;

public sealed class RefusalTests(TestFolder folder) : IClassFixture<TestFolder>
{
    [Theory]
    [InlineData("prune", "model")]
    [InlineData("prune ./model --ratio 1.5", "1.5")]
    [InlineData("prune ./model --keep 0", "0")]
    [InlineData("prune ./model --ratio 0", "'--ratio 0': it removes nothing")]
    [InlineData("plan ./model --keep 1", "'--keep 1': it removes nothing")]
    [InlineData("prune ./model --ratio 0.3 --keep 0.7", "--keep")]
    [InlineData("prune ./model --strategy best", "best")]
    [InlineData("prune ./model --strategy fisher --steps 10", "--steps")]
    [InlineData("prune ./model --steps 0", "--steps 0")]
    [InlineData("prune ./model --device tpu", "tpu")]
    [InlineData("prune ./model --reconstruct --norm-order select-then-norm", "--reconstruct")]
    [InlineData("prune ./model --reconstruct --layout stream", "'--reconstruct' needs a layout")]
    [InlineData("prune ./model --reconstruct --layout stock", "'--reconstruct' needs a layout")]
    [InlineData("prune ./model --layout narrow", "narrow")]
    [InlineData("plan ./model --min-attention-groups -1", "--min-attention-groups -1")]
    [InlineData("apply ./model plan.json --text text.txt", "--reconstruct")]
    [InlineData("generate ./model Hello --top-p 2", "--top-p 2")]
    [InlineData("eval ./model --measure", "--measure")]
    [InlineData("eval ./model --measure tasks", "'--measure tasks': there is no task")]
    [InlineData("eval ./model --measure perplexity agreement", "'--measure agreement': there is no second model")]
    [InlineData("shrink ./model", "shrink")]
    public async Task An_invalid_command_line_is_refused_before_anything_is_loaded(string line, string expected)
    {
        var outcome = (await folder.RunAsync(line.Split(' '))).With(2);
        Assert.Contains(expected, outcome.Error, StringComparison.Ordinal);
        Assert.Contains("--help", outcome.Error, StringComparison.Ordinal);
        Assert.Empty(outcome.Out);
    }

    [Theory]
    [InlineData("prune ./none", "there is no such folder")]
    [InlineData("prune ./model --report text.txt/page.html", "text.txt is a file")]
    [InlineData("prune ./model --report page.json", "give an HTML file")]
    [InlineData("prune ./model --report model", "model is a folder")]
    [InlineData("prune ./model --report page.html --test none.txt", "none.txt")]
    [InlineData("prune ./model --report page.html --test short.txt --sequence-length 64", "short.txt: ")]
    [InlineData("prune ./model --text short.txt --sequence-length 64", "short.txt: ")]
    [InlineData("prune ./model --text text.txt --reconstruct", "5119 that are needed")]
    [InlineData("prune ./model --sample 100", "--sample 100 is less than the 512 tokens")]
    [InlineData("prune ./model --run text.txt/run", "text.txt")]
    [InlineData("prune ./model -o text.txt/pruned", "text.txt is a file")]
    [InlineData("plan ./model -o new/", "new/ is a folder")]
    [InlineData("plan ./model -o model", "model is a folder")]
    [InlineData("prune ./bare", "no tokenizer")]
    [InlineData("generate ./bare Hello", "tokenizer")]
    [InlineData("prune ./model --text none.txt", "none.txt")]
    [InlineData("prune ./model --sequence-length 100000 --text text.txt", "positions")]
    [InlineData("prune ./model -o model", "already exists")]
    [InlineData("apply ./model none.json", "none.json")]
    [InlineData("apply ./model ./model", "selection-plan.json")]
    [InlineData("inspect text.txt", "text.txt")]
    [InlineData("generate ./model Hello --tokens 100000", "positions")]
    public async Task An_invalid_input_is_named_without_a_stack_trace_and_leaves_no_files(string line, string expected)
    {
        string[] before = Directory.GetFileSystemEntries(folder.Folder);
        var outcome = (await folder.RunAsync(line.Split(' '))).With(1);
        Assert.Contains(expected, outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Loading", outcome.Error, StringComparison.Ordinal);
        Assert.Equal(before, Directory.GetFileSystemEntries(folder.Folder));
    }

    [Fact]
    public async Task A_model_that_does_not_fit_the_disk_is_refused_before_it_is_loaded()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only some file systems take a file of a terabyte that holds nothing.");
        Directory.CreateDirectory(folder["huge"]);
        HugeModel.Write(folder["model"], folder["huge"]);
        var outcome = (await folder.RunAsync("prune", "./huge", "--ratio", "0.3", "--strategy", "magnitude")).With(1);
        Directory.Delete(folder["huge"], recursive: true);
        Assert.Matches(@"\./huge-pruned-30.* need about 1[0-9]{3}\.[0-9]{2} GB, and .* free", outcome.Error);
        Assert.DoesNotContain("Loading", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Verbose_adds_the_stack_trace()
    {
        var outcome = (await folder.RunAsync("inspect", "text.txt", "--verbose")).With(1);
        Assert.Contains("   at DispLlm.", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_budget_out_of_reach_has_its_own_exit_code_and_a_json_error()
    {
        var outcome = (await folder.RunAsync("prune", "./model", "--ratio", "0.9999", "--json")).With(3);
        Assert.Equal("BudgetException", (string?)outcome.Json["error"]!["kind"]);
        Assert.Contains("closest", (string?)outcome.Json["error"]!["message"], StringComparison.Ordinal);
        Assert.Equal(3, (int?)outcome.Json["error"]!["exit_code"]);
    }
}
