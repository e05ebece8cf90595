using Xunit;

namespace DispLlm.Tests;

/// <summary>
/// Data that is too large, or not ours, to be in the repository: a folder <c>shared</c> beside it, or wherever DISPLLM_SHARED points.
/// Tests that need it skip, visibly, where it is missing; DISPLLM_SHARED set to nothing means "as if it were missing".
/// </summary>
internal static class SharedData
{
    /// <summary>The folder, or <see langword="null"/> where there is none.</summary>
    public static string? Root { get; } = Find();

    /// <summary>A file or folder of the shared data; skips the test where it is missing.</summary>
    public static string Path(params string[] parts)
    {
        Assert.SkipWhen(Root is null, "The shared data is not here: put it beside the repository as 'shared', or set DISPLLM_SHARED.");
        string path = System.IO.Path.Combine([Root!, .. parts]);
        Assert.SkipUnless(File.Exists(path) || Directory.Exists(path), $"The shared data has no '{string.Join('/', parts)}'.");
        return path;
    }

    private static string? Find()
    {
        if (Environment.GetEnvironmentVariable("DISPLLM_SHARED") is { } named)
        {
            return named.Length > 0 && IsShared(named) ? named : null;
        }

        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string candidate = System.IO.Path.Combine(folder.FullName, "shared");
            if (IsShared(candidate))
            {
                return candidate;
            }
        }

        return null;
    }

    private static bool IsShared(string folder) => File.Exists(System.IO.Path.Combine(folder, "method.md"));
}
