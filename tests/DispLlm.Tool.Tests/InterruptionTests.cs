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
        string run = Assert.Single(Directory.GetDirectories(_folder.Folder, "the plan.json.*.run"));
        Assert.True(File.Exists(Path.Combine(run, "state.safetensors")));
        Assert.Matches("Stopped after [0-9]+ of 24 steps", stopped.Error);
        Assert.Contains("  displlm plan ./model --text text.txt --sequence-length 16 --steps 24 -o 'the plan.json'\n", stopped.Error,
            StringComparison.Ordinal);

        stopped = (await ToolProcess.InterruptAsync(_folder.Folder, "TERM", "Learning: ", line)).With(143);
        var resumed = (await _folder.RunAsync(line)).With(0);
        Assert.DoesNotContain("Learning: 1/24", resumed.Error, StringComparison.Ordinal);
        Assert.Equal(File.ReadAllBytes(_folder["whole.json"]), File.ReadAllBytes(_folder["the plan.json"]));
        Assert.False(Directory.Exists(run));
    }

    [Fact]
    public async Task A_terminal_that_is_closed_saves_the_run()
    {
        string[] line = ["plan", "./model", "--text", "text.txt", "--sequence-length", "16", "--steps", "24", "-o", "plan.json"];
        Assert.SkipUnless(
            await ToolProcess.CloseTerminalAsync(_folder.Folder, "steps.jsonl", line), "There is no /usr/bin/script to make a terminal.");
        Assert.DoesNotContain("Learning: 1/24", (await _folder.RunAsync(line)).With(0).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task SIGHUP_saves_the_run()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows sends no signals to processes.");
        string[] line = ["plan", "./model", "--text", "text.txt", "--sequence-length", "16", "--steps", "200", "-o", "plan.json"];
        var stopped = (await ToolProcess.InterruptAsync(_folder.Folder, "HUP", "Learning: 1/200", line)).With(129);
        Assert.Matches("Stopped after [0-9]+ of 200 steps. The run is saved in plan.json.", stopped.Error);
    }

    [Theory]
    [InlineData("fisher", "32")]
    [InlineData("first-order", "64")]
    [InlineData("activation", "64")]
    public async Task A_measurement_that_is_killed_resumes_to_the_same_plan(string strategy, string length)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows sends no signals to processes.");
        string[] line = ["plan", "./model", "--text", "text.txt", "--sequence-length", length, "--strategy", strategy, "-o"];
        (await _folder.RunAsync([.. line, "whole.json"])).With(0);

        var killed = await ToolProcess.InterruptAtFileAsync(_folder.Folder, "KILL", "measured.safetensors", [.. line, "plan.json"]);
        Assert.Equal(137, killed.ExitCode);
        var resumed = (await _folder.RunAsync([.. line, "plan.json"])).With(0);
        Assert.Contains("measuring ", resumed.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("measuring 1/", resumed.Error, StringComparison.Ordinal);
        Assert.Equal(File.ReadAllBytes(_folder["whole.json"]), File.ReadAllBytes(_folder["plan.json"]));
        Assert.Empty(Directory.GetDirectories(_folder.Folder, "*.run"));
    }

    [Fact]
    public async Task Text_that_was_sampled_is_not_sampled_again()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows sends no signals to processes.");
        string[] line = ["plan", "./model", "--sample", "12288", "--sequence-length", "16", "--strategy", "activation", "-o"];
        (await _folder.RunAsync([.. line, "whole.json"])).With(0);

        // Killed after the first of three batches, and after all of them.
        Assert.Equal(
            137, (await ToolProcess.InterruptAtFileAsync(_folder.Folder, "KILL", "text.safetensors", [.. line, "plan.json"])).ExitCode);
        var killed = await ToolProcess.InterruptAsync(_folder.Folder, "KILL", "Selecting by", [.. line, "plan.json"]);
        Assert.Equal(137, killed.ExitCode);
        Assert.Matches("model: (4|8),[0-9]{3}/12,288 tokens", killed.Error);
        Assert.DoesNotContain("model: 16/12,288 tokens", killed.Error, StringComparison.Ordinal);

        var resumed = (await _folder.RunAsync([.. line, "plan.json"])).With(0);
        Assert.DoesNotContain("/12,288 tokens", resumed.Error, StringComparison.Ordinal);
        Assert.Equal(File.ReadAllBytes(_folder["whole.json"]), File.ReadAllBytes(_folder["plan.json"]));
    }

    [Fact]
    public async Task Outputs_and_settings_have_runs_of_their_own_that_say_whose_they_are()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows sends no signals to processes.");
        string[] line = ["plan", "./model", "--text", "text.txt", "--sequence-length", "16", "--steps", "24"];
        foreach (string[] rest in (string[][])[["-o", "a.json"], ["-o", "b.json"], ["-o", "a.json", "--seed", "1"]])
        {
            (await ToolProcess.InterruptAsync(_folder.Folder, "TERM", "Learning: ", [.. line, .. rest])).With(143);
        }

        Assert.Equal(2, Directory.GetDirectories(_folder.Folder, "a.json.*.run").Length);
        string run = Assert.Single(Directory.GetDirectories(_folder.Folder, "b.json.*.run"));
        Assert.Contains(
            "\ndispllm plan ./model --text text.txt --sequence-length 16 --steps 24 -o b.json\n",
            File.ReadAllText(Path.Combine(run, "command.txt")), StringComparison.Ordinal);

        foreach (string name in (string[])["a.json", "b.json"])
        {
            (await _folder.RunAsync([.. line, "-o", name])).With(0);
        }

        Assert.Equal(File.ReadAllBytes(_folder["a.json"]), File.ReadAllBytes(_folder["b.json"]));
        Assert.Single(Directory.GetDirectories(_folder.Folder, "*.run"));
    }

    [Fact]
    public async Task A_second_run_of_the_same_command_is_refused_at_once()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows sends no signals to processes.");
        string[] line = ["plan", "./model", "--text", "text.txt", "--sequence-length", "16", "--steps", "24", "-o", "plan.json"];
        Outcome? second = null;
        (await ToolProcess.RunAsync(
            _folder.Folder, "Loading", () => second = _folder.RunAsync(line).GetAwaiter().GetResult(), line)).With(0);
        Assert.Contains("Is another run using the folder?", second!.With(1).Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Loading", second.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("prune")]
    [InlineData("plan")]
    public async Task A_run_that_is_stopped_before_its_first_step_leaves_nothing(string command)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows sends no signals to processes.");
        string[] before = Directory.GetFileSystemEntries(_folder.Folder);
        var stopped = await ToolProcess.InterruptAsync(
            _folder.Folder, "INT", "Generating", command, "./model", "--sample", "30000", "-o", "new/folder/output");
        Assert.Contains("Nothing was saved", stopped.With(130).Error, StringComparison.Ordinal);
        Assert.Equal(before, Directory.GetFileSystemEntries(_folder.Folder));
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
