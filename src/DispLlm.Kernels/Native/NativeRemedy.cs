using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace DispLlm.Kernels;

/// <summary>
/// Loads <c>libLibTorchSharp.so</c> on systems whose libstdc++ is older than GCC 13 (Debian 12, Ubuntu 22.04, RHEL 9). Upstream fault
/// (TorchSharp 0.107): the library requires GLIBCXX_3.4.32 because GCC 13 adds one symbol that ensures that the standard streams are
/// initialized. No relocation refers to that symbol, and libtorch, compiled by an older GCC and loaded before, initializes the streams. So
/// a private copy marks the version as weak. When TorchSharp's library requires at most GLIBCXX_3.4.30, delete this class and
/// <see cref="ElfVersionNeeds"/>.
/// </summary>
internal static class NativeRemedy
{
    /// <summary>The version that older systems lack.</summary>
    public const string Version = "GLIBCXX_3.4.32";

    /// <summary>The environment variable that disables the remedy.</summary>
    public const string DisableVariable = "DISPLLM_NATIVE_REMEDY";

    /// <summary>The AppContext switch that does the same.</summary>
    public const string DisabledSwitch = "DispLlm.NativeRemedy.Disabled";

    private const string HarmlessSymbol = "_ZSt21ios_base_library_initv";

    /// <summary>Whether the user has disabled the remedy.</summary>
    public static bool IsDisabled =>
        (AppContext.TryGetSwitch(DisabledSwitch, out bool off) && off)
        || Environment.GetEnvironmentVariable(DisableVariable)?.Trim().ToUpperInvariant() is "OFF" or "0" or "FALSE";

    /// <summary>The library's bytes with the version marked weak.</summary>
    /// <param name="image">The package's file.</param>
    /// <exception cref="InvalidDataException">The file is not one that the remedy is known to be safe for.</exception>
    public static byte[] Apply(byte[] image)
    {
        var elf = ElfVersionNeeds.Read(image);
        var need = elf.Needs.FirstOrDefault(n => n.Version == Version);
        if (need.Version is null)
        {
            throw new InvalidDataException($"The file does not ask for {Version}.");
        }

        // A later build may use other symbols of that version; without them it would crash at the first call.
        var others = elf.GetSymbols(need).Where(symbol => symbol != HarmlessSymbol).ToList();
        if (others.Count > 0)
        {
            throw new InvalidDataException($"The file takes more from {Version} than {HarmlessSymbol}: {string.Join(", ", others)}.");
        }

        return elf.WithWeak(need);
    }

    /// <summary>Loads a private copy of the library.</summary>
    /// <param name="library">The package's file; only read.</param>
    /// <returns>The copy's path.</returns>
    public static string Load(string library)
    {
        byte[] original = File.ReadAllBytes(library);
        byte[] remedied = Apply(original);
        string name = Path.GetFileName(library);
        string key = Convert.ToHexStringLower(SHA256.HashData(original))[..32];
        Exception? reason = null;
        if (CacheFolder() is { } cache)
        {
            try
            {
                string copy = Store(remedied, Path.Combine(cache, key), name);
                NativeLibrary.Load(copy);
                return copy;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or DllNotFoundException)
            {
                // The home folder is read-only, full, or mounted noexec: try the temporary folder.
                reason = e;
            }
        }

        return LoadFromTemporaryFolder(remedied, name, reason);
    }

    /// <summary>Writes the copy to the folder unless it is there already.</summary>
    /// <param name="bytes">The copy.</param>
    /// <param name="folder">The folder, created if needed.</param>
    /// <param name="name">The copy's name.</param>
    internal static string Store(byte[] bytes, string folder, string name)
    {
        MakePrivate(folder);
        string target = Path.Combine(folder, name);
        if (File.Exists(target) && File.ReadAllBytes(target).AsSpan().SequenceEqual(bytes))
        {
            return target;
        }

        // Written to another name and moved: other processes see no file or a complete one, and a mapped file stays valid.
        string part = Path.Combine(folder, $"{name}.{Guid.NewGuid():N}.part");
        try
        {
            File.WriteAllBytes(part, bytes);
            File.Move(part, target, overwrite: true);
        }
        finally
        {
            File.Delete(part);
        }

        return target;
    }

    private static string LoadFromTemporaryFolder(byte[] bytes, string name, Exception? reason)
    {
        // A new folder that only this user can write to. Once loaded, the file is not needed any more.
        string folder = Directory.CreateTempSubdirectory("displlm-").FullName;
        try
        {
            string copy = Store(bytes, folder, name);
            NativeLibrary.Load(copy);
            return copy;
        }
        catch (Exception e) when (reason is not null && e is IOException or UnauthorizedAccessException or DllNotFoundException)
        {
            throw new DllNotFoundException($"{reason?.Message} Nor from the temporary folder: {e.Message}", e);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string? CacheFolder()
    {
        string? root = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
        if (!Path.IsPathFullyQualified(root ?? string.Empty))
        {
            string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
            root = home.Length > 0 ? Path.Combine(home, ".cache") : null;
        }

        return root is null ? null : Path.Combine(root, "displlm", "native");
    }

    private static void MakePrivate(string folder)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(folder);
        }
        else
        {
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }
}
