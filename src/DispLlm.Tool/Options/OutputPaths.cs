using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Default output paths: next to the model, with its name and the pruning ratio.</summary>
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

    public static string GetRunFolder(string folder) => folder + ".run";

    /// <summary>Rejects a path that exists, before any work.</summary>
    public static void EnsureAvailable(string path)
    {
        if (File.Exists(path) || (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any()))
        {
            throw new ToolException($"{path} already exists, and is not overwritten: give another path, or remove it first.");
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
