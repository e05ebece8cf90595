using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Default output paths: next to the model, with its name and the pruning ratio. Checks of outputs before any work.</summary>
internal static class OutputPaths
{
    /// <summary><c>./model-pruned-30</c> for <c>./model</c> and a ratio of 0.3.</summary>
    public static string GetModelFolder(string model, PruningBudget budget) =>
        CreateName(model, budget.Kind == BudgetKind.Ratio ? budget.Value : 1 - budget.Value);

    /// <summary>The same for a plan, by its budget or kept fraction.</summary>
    public static string GetModelFolder(string model, SelectionPlan plan) =>
        plan.Provenance.Budget is { Kind: not BudgetKind.Parameters } budget
        ? GetModelFolder(model, budget)
        : CreateName(model, 1 - (decimal)plan.KeptFraction());

    public static string GetPlanFile(string folder) => folder + ".json";

    /// <summary>The run directory beside an output, or beside what a link leads to.</summary>
    /// <param name="output">The output.</param>
    /// <param name="settings">All that the output follows from.</param>
    public static string GetRunFolder(string output, string settings)
    {
        string path = Path.TrimEndingDirectorySeparator(output);
        path = new FileInfo(path).LinkTarget is null ? path : PartialPath.Resolve(path);
        return $"{path}.{ModelIdentity.Hash(System.Text.Encoding.UTF8.GetBytes(settings))[..8]}.run";
    }

    /// <summary>The folders that a path is in, the innermost first.</summary>
    public static IEnumerable<string> GetParents(string path)
    {
        for (string? parent = PartialPath.Resolve(path); (parent = Path.GetDirectoryName(parent)) is not null;)
        {
            yield return parent;
        }
    }

    /// <summary>Rejects a folder that holds files or cannot be written.</summary>
    public static void EnsureNewFolder(string path)
    {
        string target = PartialPath.Resolve(path);
        if (File.Exists(target) || (Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any()))
        {
            throw Exists(path);
        }

        EnsureWritable(path);
    }

    /// <summary>Rejects a file that exists or cannot be written.</summary>
    public static void EnsureNewFile(string path)
    {
        if (Directory.Exists(path) || Path.EndsInDirectorySeparator(path))
        {
            throw new ToolException($"{path} is a folder: give a file.");
        }

        if (File.Exists(PartialPath.Resolve(path)))
        {
            throw Exists(path);
        }

        EnsureWritable(path);
    }

    /// <summary>Creates the folder of a file.</summary>
    public static void CreateParent(string file) => Directory.CreateDirectory(GetParents(file).First());

    private static ToolException Exists(string path) =>
        new($"{path} already exists, and is not overwritten: give another path, or remove it first.");

    /// <summary>
    /// Begins a file of this name, which also removes what a killed run left of it; or one where its folder is to be created.
    /// </summary>
    private static void EnsureWritable(string path)
    {
        string target = PartialPath.Resolve(path), existing = GetParents(path).FirstOrDefault(Path.Exists) ?? target;
        try
        {
            new AtomicFile(existing == Path.GetDirectoryName(target) ? target : Path.Combine(existing, "displlm")).Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            string reason = File.Exists(existing) ? $"{existing} is a file" : e.Message.TrimEnd('.');
            throw new ToolException($"{path} cannot be written: {reason}. Give another path.", e);
        }
    }

    private static string CreateName(string model, decimal removed) => string.Create(
        CultureInfo.InvariantCulture, $"{GetFullName(model)}-pruned-{removed * 100:0.##}");

    /// <summary>The path without a trailing separator; "." and ".." are made absolute to get a name.</summary>
    private static string GetFullName(string model)
    {
        string path = Path.TrimEndingDirectorySeparator(model);
        return Path.GetFileName(path) is "." or ".." or "" ? Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)) : path;
    }
}
