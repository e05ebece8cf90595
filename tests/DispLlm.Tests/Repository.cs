namespace DispLlm.Tests;

/// <summary>The checkout that the tests were built in. A deterministic build tells no source paths, so it is looked for.</summary>
public static class Repository
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "DispLlm.sln")))
            {
                return folder.FullName;
            }
        }

        throw new DirectoryNotFoundException($"No checkout above {AppContext.BaseDirectory}.");
    }
}
