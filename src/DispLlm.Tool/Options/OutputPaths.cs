using System.Globalization;
using System.Text;

namespace DispLlm.Tool;

/// <summary>Default output paths: next to the model, with its name and the pruning ratio.</summary>
internal static class OutputPaths
{
    /// <summary><c>./model-pruned-30</c> for <c>./model</c> and a ratio of 0.3.</summary>
    public static string GetModelFolder(string model, PruningBudget budget) =>
        CreateName(model, budget.Kind == BudgetKind.Ratio ? budget.Value : 1 - budget.Value);

    /// <summary>A path next to a model, with its name and a suffix.</summary>
    public static string AddSuffix(string model, string suffix) => GetFullName(model) + suffix;

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
        return $"{path}.{ModelIdentity.Hash(Encoding.UTF8.GetBytes(settings))[..8]}.run";
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
