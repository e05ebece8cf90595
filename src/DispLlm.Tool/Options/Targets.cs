using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Where results go when nobody says it: beside the model, under its name and how much of it goes.</summary>
internal static class Targets
{
    /// <summary><c>./model-pruned-30</c> for <c>./model</c> and a ratio of 0.3.</summary>
    public static string Folder(string model, PruningBudget budget) => Named(model, budget.Kind == BudgetKind.Ratio ? budget.Value : 1 - budget.Value);

    /// <summary>The same for a plan, by what it removes.</summary>
    public static string Folder(string model, SelectionPlan plan) => plan.Provenance.Budget is { Kind: not BudgetKind.Parameters } budget
        ? Folder(model, budget)
        : Named(model, 1 - (decimal)plan.KeptFraction());

    public static string PlanFile(string folder) => folder + ".json";

    public static string RunFolder(string folder) => folder + ".run";

    /// <summary>Refuses to write over what is there, before any work is done.</summary>
    public static void EnsureFree(string path)
    {
        if (File.Exists(path) || (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any()))
        {
            throw new ToolException($"{path} is there already. Nothing is overwritten: name another place with --output, or remove it first.");
        }
    }

    private static string Named(string model, decimal removed) => string.Create(
        CultureInfo.InvariantCulture, $"{Trimmed(model)}-pruned-{removed * 100:0.##}");

    /// <summary>The folder's own name, also where it is written as "." or with a slash at its end; relative paths stay relative.</summary>
    private static string Trimmed(string model)
    {
        string path = Path.TrimEndingDirectorySeparator(model);
        return Path.GetFileName(path) is "." or ".." or "" ? Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)) : path;
    }
}
