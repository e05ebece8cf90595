namespace DispLlm.Tool.Tests;

public sealed class InterruptionTests : IDisposable
{
    private readonly Workplace _workplace = new();

    [Fact]
    public async Task A_run_that_was_interrupted_goes_on_to_the_same_plan_with_the_command_that_it_names()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows sends no signals to processes.");
        string[] line = ["plan", "./model", "--text", "text.txt", "--window", "16", "--steps", "50", "-o", "the plan.json"];
        (await _workplace.RunAsync([.. line[..^1], "whole.json", "--run", "whole"])).With(0);

        var stopped = (await ToolProcess.InterruptAsync(_workplace.Folder, "INT", "Learning: 1/50", line)).With(130);
        Assert.False(File.Exists(_workplace["the plan.json"]));
        Assert.True(File.Exists(Path.Combine(_workplace["model-pruned-20.run"], "state.safetensors")));
        Assert.Matches("Stopped after [0-9]+ of 50 steps", stopped.Error);
        Assert.Contains("  displlm plan ./model --text text.txt --window 16 --steps 50 -o 'the plan.json'\n", stopped.Error, StringComparison.Ordinal);

        stopped = (await ToolProcess.InterruptAsync(_workplace.Folder, "TERM", "Learning: ", line)).With(143);
        var resumed = (await _workplace.RunAsync(line)).With(0);
        Assert.DoesNotContain("Learning: 1/50", resumed.Error, StringComparison.Ordinal);
        Assert.Equal(File.ReadAllBytes(_workplace["whole.json"]), File.ReadAllBytes(_workplace["the plan.json"]));
        Assert.False(Directory.Exists(_workplace["model-pruned-20.run"]));
    }

    [Fact]
    public async Task A_run_of_other_settings_is_not_taken_up()
    {
        string[] line = ["plan", "./model", "--text", "text.txt", "--window", "16", "--steps", "2", "--run", "run"];
        (await _workplace.RunAsync([.. line, "-o", "first.json"])).With(0);
        var outcome = (await _workplace.RunAsync([.. line, "-o", "second.json", "--seed", "1"])).With(1);
        Assert.Contains("seed is 1 here and 0 there", outcome.Error, StringComparison.Ordinal);
    }

    public void Dispose() => _workplace.Dispose();
}
