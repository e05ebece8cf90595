using System.Diagnostics;
using System.Security.Cryptography;
using DispLlm.Tests.Devices;
using Xunit;

namespace DispLlm.Tests.Kernels;

/// <summary>Loading happens once per process, so each variant runs in a child process: this test program with one test.</summary>
[Collection(nameof(NativeRemedyTests))]
public sealed class NativeRemedyTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("displlm-tests-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Concurrent_processes_share_one_private_copy_and_leave_the_package_unchanged()
    {
        string library = PackageLibraryOrSkip();
        byte[] before = SHA256.HashData(await File.ReadAllBytesAsync(library, TestContext.Current.CancellationToken));
        var children = await Task.WhenAll(Enumerable.Range(0, 3).Select(_ => RunChild(("XDG_CACHE_HOME", _folder))));
        Assert.All(children, RanOneTest);

        string copy = Assert.Single(Directory.GetFiles(_folder, "*", SearchOption.AllDirectories));
        Assert.Equal("libLibTorchSharp.so", Path.GetFileName(copy));
        Assert.Equal(before, SHA256.HashData(await File.ReadAllBytesAsync(library, TestContext.Current.CancellationToken)));
    }

    [Fact]
    public async Task The_error_of_a_disabled_remedy_says_how_to_enable_it()
    {
        PackageLibraryOrSkip();
        var child = await RunChild(("XDG_CACHE_HOME", _folder), (NativeTorch.RemedyVariable, "off"));
        Assert.NotEqual(0, child.ExitCode);
        Assert.Contains(nameof(NativeTorchException), child.Output, StringComparison.Ordinal);
        Assert.Contains("GLIBCXX_3.4.32", child.Output, StringComparison.Ordinal);
        Assert.Contains(NativeTorch.RemedyVariable, child.Output, StringComparison.Ordinal);
        Assert.Contains(NativeTorch.RemedyDisabledSwitch, child.Output, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_folder, "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task Without_a_cache_folder_a_temporary_copy_is_loaded()
    {
        PackageLibraryOrSkip();
        string temporary = Directory.CreateDirectory(Path.Combine(_folder, "tmp")).FullName;
        string file = Path.Combine(_folder, "file");
        await File.WriteAllTextAsync(file, "A file where a folder should be.", TestContext.Current.CancellationToken);
        var child = await RunChild(("XDG_CACHE_HOME", file), ("TMPDIR", temporary));
        RanOneTest(child);
        Assert.Empty(Directory.GetDirectories(temporary, "displlm-*"));
    }

    [Fact]
    public void An_intact_copy_is_kept_and_another_is_replaced()
    {
        byte[] bytes = [1, 2, 3];
        string path = NativeRemedy.Store(bytes, Path.Combine(_folder, "a", "b"), "lib.so");
        var written = new DateTime(2001, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(path, written);
        Assert.Equal(path, NativeRemedy.Store(bytes, Path.GetDirectoryName(path)!, "lib.so"));
        Assert.Equal(written, File.GetLastWriteTimeUtc(path));

        File.WriteAllBytes(path, [1, 2]);
        NativeRemedy.Store(bytes, Path.GetDirectoryName(path)!, "lib.so");
        Assert.Equal(bytes, File.ReadAllBytes(path));
        Assert.Single(Directory.GetFiles(Path.GetDirectoryName(path)!));
    }

    [Fact]
    public void The_AppContext_switch_disables_the_remedy()
    {
        // Libraries are loaded before tests run, so the switch affects no other test.
        Assert.False(NativeRemedy.IsDisabled);
        AppContext.SetSwitch(NativeTorch.RemedyDisabledSwitch, true);
        try
        {
            Assert.True(NativeRemedy.IsDisabled);
        }
        finally
        {
            AppContext.SetSwitch(NativeTorch.RemedyDisabledSwitch, false);
        }
    }

    /// <summary>A filter without a match exits with 0 as well.</summary>
    private static void RanOneTest((int ExitCode, string Output) child) =>
        Assert.True(child.ExitCode == 0 && child.Output.Contains("Total: 1, Errors: 0, Failed: 0", StringComparison.Ordinal), child.Output);

    private static string PackageLibraryOrSkip()
    {
        NativeTorch.EnsureLoaded();
        Assert.SkipUnless(NativeTorch.Report!.RemedyApplied, "This system's libstdc++ is new enough to need no remedy.");
        return NativeTorch.Report.PackageLibrary!;
    }

    private async Task<(int ExitCode, string Output)> RunChild(params (string Name, string Value)[] environment)
    {
        string program = Path.ChangeExtension(typeof(NativeRemedyTests).Assembly.Location, null);
        string test = $"{typeof(NativeTorchTests).FullName}.{nameof(NativeTorchTests.Matrix_multiplication_works_after_loading)}";
        var start = new ProcessStartInfo(program, ["-method", test, "-noLogo", "-noColor"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = _folder,
        };
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start)!;
        try
        {
            var token = TestContext.Current.CancellationToken;
            var output = process.StandardOutput.ReadToEndAsync(token);
            var error = process.StandardError.ReadToEndAsync(token);
            await process.WaitForExitAsync(token).WaitAsync(TimeSpan.FromMinutes(1), token);
            return (process.ExitCode, await output + await error);
        }
        finally
        {
            process.Kill();
        }
    }
}
