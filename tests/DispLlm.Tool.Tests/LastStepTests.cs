namespace DispLlm.Tool.Tests;

/// <summary>What was computed is kept where the last step fails, and the printed command finishes.</summary>
public sealed class LastStepTests : IDisposable
{
    private readonly TestFolder _folder = new();

    [Fact]
    public async Task A_disk_that_is_full_keeps_the_plan_and_the_printed_command_writes_the_model()
    {
        string[] line = ["prune", "./model", "--strategy", "magnitude", "-o"];
        (await _folder.RunAsync([.. line, "whole"])).With(0);
        var failed = await ToolProcess.RunOnFullDiskAsync(_folder.Folder, [.. line, "pruned", "--json"]);
        Assert.SkipWhen(failed is null, "There is no bash to limit files with.");
        Assert.False(Directory.Exists(_folder["pruned"]));
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Folder, "*.part*"));

        string finish = (string)failed!.With(1).Json["error"]!["finish"]!;
        Assert.Contains($"  {finish}\n", failed.Error, StringComparison.Ordinal);
        Assert.StartsWith("displlm apply ./model pruned.", finish, StringComparison.Ordinal);
        (await _folder.RunAsync(finish.Split(' ')[1..])).With(0);
        EqualFolders("whole", "pruned");
    }

    [Fact]
    public async Task An_output_that_appears_meanwhile_is_not_overwritten_and_another_can_be_given()
    {
        string[] line = ["prune", "./model", "--text", "text.txt", "--sequence-length", "16", "--steps", "2", "-o", "pruned"];
        var failed = await ToolProcess.RunAsync(_folder.Folder, "Learning", () => Obstruct("pruned/file"), line);
        Assert.Contains("exists and is not empty", failed.With(1).Error, StringComparison.Ordinal);
        string plan = Assert.Single(Directory.GetFiles(_folder.Folder, "selection-plan.json", SearchOption.AllDirectories));
        (await _folder.RunAsync("apply", "./model", plan, "-o", "elsewhere")).With(0);

        Directory.Delete(_folder["pruned"], recursive: true);
        (await _folder.RunAsync(line)).With(0);
        EqualFolders("elsewhere", "pruned");
        Assert.Empty(Directory.GetDirectories(_folder.Folder, "*.run"));
    }

    [Theory]
    [InlineData("--strategy", "magnitude")]
    [InlineData("--steps", "2")]
    public async Task A_report_that_cannot_be_written_is_written_by_the_same_command_later(string option, string value)
    {
        string[] line =
        [
            "prune", "./model", "--text", "text.txt", "--sequence-length", "16", option, value, "-o", "pruned", "--report",
            "reports/page.html", "--test", "text.txt",
        ];
        var failed = (await ToolProcess.RunAsync(_folder.Folder, "Loading", () => Obstruct("reports/page.json/file"), line)).With(1);
        Assert.Contains($"  displlm {string.Join(' ', line)}\n", failed.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(_folder["reports/page.html"]));
        var written = File.GetLastWriteTimeUtc(_folder["pruned/model.safetensors"]);

        Directory.Delete(_folder["reports"], recursive: true);
        var finished = (await _folder.RunAsync(line)).With(0);
        Assert.DoesNotContain("Writing", finished.Error, StringComparison.Ordinal);
        Assert.Contains("<svg", File.ReadAllText(_folder["reports/page.html"]), StringComparison.Ordinal);
        Assert.Equal(written, File.GetLastWriteTimeUtc(_folder["pruned/model.safetensors"]));
        Assert.Empty(Directory.GetDirectories(_folder.Folder, "*.run"));
        Assert.Contains("already exists", (await _folder.RunAsync(line)).With(1).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_link_as_output_is_followed_and_what_a_kill_left_is_removed()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need a privilege on Windows.");
        Directory.CreateDirectory(_folder["disk/empty"]);
        string id = Guid.NewGuid().ToString("N");
        Obstruct($"disk/missing.{id}.part/model.safetensors");
        Obstruct($"disk/plan.json.{id}.part");
        foreach (string name in (string[])["empty", "missing", "plan.json"])
        {
            File.CreateSymbolicLink(_folder[$"to-{name}"], $"disk/{name}");
        }

        string[] magnitude = ["./model", "--strategy", "magnitude", "-o"];
        (await _folder.RunAsync(["prune", .. magnitude, "to-empty"])).With(0);
        (await _folder.RunAsync(["prune", .. magnitude, "to-missing"])).With(0);
        (await _folder.RunAsync(["plan", .. magnitude, "to-plan.json"])).With(0);
        Assert.Equal(
            ["empty", "missing", "plan.json"],
            Directory.GetFileSystemEntries(_folder["disk"]).Select(entry => Path.GetFileName(entry)).Order());
        EqualFolders("disk/empty", "to-missing");
        Assert.All(
            (string[])["empty", "missing", "plan.json"],
            name => Assert.Equal($"disk/{name}", new FileInfo(_folder[$"to-{name}"]).LinkTarget));
    }

    public void Dispose() => _folder.Dispose();

    private void Obstruct(string file)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_folder[file])!);
        File.WriteAllText(_folder[file], "in the way");
    }

    private void EqualFolders(string first, string second)
    {
        string[] files = [.. Directory.GetFiles(_folder[first]).Select(file => Path.GetFileName(file)).Order()];
        Assert.Equal(files, Directory.GetFiles(_folder[second]).Select(file => Path.GetFileName(file)).Order());
        Assert.All(
            files,
            file => Assert.Equal(File.ReadAllBytes(_folder[$"{first}/{file}"]), File.ReadAllBytes(_folder[$"{second}/{file}"])));
    }
}
