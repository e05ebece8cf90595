namespace DispLlm.Tool.Tests;

public sealed class InterruptionTests : IDisposable
{
    private readonly TestFolder _folder = new();

    [Fact]
    public async Task An_interrupted_run_resumes_to_the_same_plan_with_the_printed_command()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows sends no signals to processes.");
        string[] line = ["plan", "./model", "--text", "text.txt", "--sequence-length", "16", "--steps", "24", "-o", "the plan.json"];
        (await _folder.RunAsync([.. line[..^1], "whole.json", "--run", "whole"])).With(0);

        var stopped = (await ToolProcess.InterruptAsync(_folder.Folder, "INT", "Learning: 1/24", line)).With(130);
        Assert.False(File.Exists(_folder["the plan.json"]));
        Assert.True(File.Exists(Path.Combine(_folder["model-pruned-20.run"], "state.safetensors")));
        Assert.Matches("Stopped after [0-9]+ of 24 steps", stopped.Error);
        Assert.Contains("  displlm plan ./model --text text.txt --sequence-length 16 --steps 24 -o 'the plan.json'\n", stopped.Error,
            StringComparison.Ordinal);

        stopped = (await ToolProcess.InterruptAsync(_folder.Folder, "TERM", "Learning: ", line)).With(143);
        var resumed = (await _folder.RunAsync(line)).With(0);
        Assert.DoesNotContain("Learning: 1/24", resumed.Error, StringComparison.Ordinal);
        Assert.Equal(File.ReadAllBytes(_folder["whole.json"]), File.ReadAllBytes(_folder["the plan.json"]));
        Assert.False(Directory.Exists(_folder["model-pruned-20.run"]));
    }

    [Fact]
    public async Task A_run_with_other_settings_is_not_resumed()
    {
        string[] line = ["plan", "./model", "--text", "text.txt", "--sequence-length", "16", "--steps", "2", "--run", "run"];
        (await _folder.RunAsync([.. line, "-o", "first.json"])).With(0);
        var outcome = (await _folder.RunAsync([.. line, "-o", "second.json", "--seed", "1"])).With(1);
        Assert.Contains("seed is 1 here and 0 there", outcome.Error, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();
}
