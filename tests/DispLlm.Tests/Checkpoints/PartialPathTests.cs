namespace DispLlm.Tests.Checkpoints;

[Collection(nameof(PartialPathTests))]
public sealed class PartialPathTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void What_a_killed_writer_left_is_removed_by_the_next_one_and_nothing_else()
    {
        string target = _folder["plan.json"], id = Guid.NewGuid().ToString("N");
        string[] others =
            [_folder["plan.json.part"], _folder["plan.json.old.part"], _folder[$"other.{id}.part"], _folder[$"plan.json.{id}.bak"]];
        foreach (string file in (string[])[.. others, $"{target}.{id}.part"])
        {
            File.WriteAllText(file, "x");
        }

        AtomicFile.Write(target, "whole");
        Assert.Equal(others.Append(target).Order(), Directory.GetFiles(_folder.FullPath).Order());
    }

    [Fact]
    public void The_file_of_a_living_writer_stays()
    {
        string target = _folder["plan.json"];
        using var living = new AtomicFile(target);
        living.Stream.WriteByte(1);
        AtomicFile.Write(target, "other");
        living.Complete();
        Assert.Equal([1], File.ReadAllBytes(target));
    }

    [Fact]
    public void The_folder_of_a_living_writer_stays_and_that_of_a_killed_one_does_not()
    {
        string target = _folder["model"], killed = $"{target}.{Guid.NewGuid():N}.part";
        Directory.CreateDirectory(killed);
        File.WriteAllText(Path.Combine(killed, "weights"), "x");
        File.WriteAllText(killed + ".lock", "");
        File.WriteAllText($"{target}.{Guid.NewGuid():N}.part.lock", "");
        using var living = new AtomicFolder(target);
        File.WriteAllText(Path.Combine(living.Partial, "weights"), "first");
        using (new AtomicFolder(target))
        {
            Assert.Equal(2, Directory.GetDirectories(_folder.FullPath).Length);
        }

        living.Complete();
        living.Dispose();
        Assert.Equal([target], Directory.GetFileSystemEntries(_folder.FullPath));
        Assert.Equal("first", File.ReadAllText(Path.Combine(target, "weights")));
    }

    [Fact]
    public void A_folder_that_is_not_completed_leaves_nothing()
    {
        using (var folder = new AtomicFolder(_folder["model"]))
        {
            File.WriteAllText(Path.Combine(folder.Partial, "weights"), "x");
        }

        Assert.Empty(Directory.GetFileSystemEntries(_folder.FullPath));
    }

    [Fact]
    public void Links_are_followed_even_to_what_is_not_there_yet()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need a privilege on Windows.");
        Directory.CreateDirectory(_folder["real"]);
        File.CreateSymbolicLink(_folder["second"], "real/file");
        File.CreateSymbolicLink(_folder["first"], "second");
        AtomicFile.Write(_folder["first"], "text");
        Assert.Equal("text", File.ReadAllText(_folder["real/file"]));
        Assert.Equal("second", new FileInfo(_folder["first"]).LinkTarget);

        Directory.CreateDirectory(_folder["real/empty"]);
        File.CreateSymbolicLink(_folder["link"], "real/empty");
        using (var folder = new AtomicFolder(_folder["link"] + "/"))
        {
            folder.Complete();
        }

        Assert.Equal("real/empty", new FileInfo(_folder["link"]).LinkTarget);
        Assert.Equal(["empty", "file"], Directory.GetFileSystemEntries(_folder["real"]).Select(entry => Path.GetFileName(entry)).Order());
    }
}
