using System.Runtime.InteropServices;

namespace DispLlm.Kernels;

/// <summary>
/// Finds the files of native libraries where .NET and TorchSharp look for them. <see cref="NativeTorchLoader"/> loads them.
/// </summary>
internal sealed class NativeFiles
{
    private NativeFiles(IReadOnlyList<string> folders) => Folders = folders;

    /// <summary>The folders that are searched, in order.</summary>
    public IReadOnlyList<string> Folders { get; }

    /// <summary>The folders of this process.</summary>
    /// <param name="torchSharpLocation">Path of <c>TorchSharp.dll</c>; empty in a single-file application.</param>
    public static NativeFiles ForProcess(string torchSharpLocation)
    {
        var folders = new List<string>();

        // The host's list comes first: the folders of deps.json, and where a single-file application is extracted to.
        if (AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") is string list)
        {
            folders.AddRange(list.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries));
        }

        foreach (string? root in new[] { AppContext.BaseDirectory, Path.GetDirectoryName(torchSharpLocation) })
        {
            if (!string.IsNullOrEmpty(root))
            {
                folders.Add(root);
                folders.Add(Path.Combine(root, "runtimes", PortableRid, "native"));
            }
        }

        // Notebooks load TorchSharp.dll from its package folder: torchsharp/<version>/lib/<framework>/TorchSharp.dll.
        if (Path.GetDirectoryName(torchSharpLocation) is { Length: > 0 } lib)
        {
            folders.Add(Path.GetFullPath(Path.Combine(lib, "..", "..", "runtimes", PortableRid, "native")));
        }

        return new NativeFiles([.. folders.Select(Path.TrimEndingDirectorySeparator).Distinct().Where(Directory.Exists)]);
    }

    /// <summary>The first file of that name.</summary>
    /// <param name="name">File name, for instance <c>libtorch.so</c>.</param>
    /// <returns>The file's path, or <see langword="null"/> if there is none.</returns>
    public string? Find(string name) => Folders.Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists);

    /// <summary>The platform's folder name in packages, for instance <c>linux-x64</c>.</summary>
    private static string PortableRid
    {
        get
        {
            string system = OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux";
            string processor = RuntimeInformation.ProcessArchitecture switch
            {
                Architecture.X64 => "x64",
                Architecture.Arm64 => "arm64",
                var other => other.ToString(),
            };
            return $"{system}-{processor}";
        }
    }
}
