namespace DispLlm.Tool;

/// <summary>Loads plans from files and from pruned folders.</summary>
internal static class PlanLoader
{
    /// <summary>Loads the plan of a file or of a pruned folder.</summary>
    /// <exception cref="DispLlmException">There is no plan, or it is not valid.</exception>
    public static SelectionPlan Load(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, SelectionPlan.FileName) : path;
        return File.Exists(file)
            ? SelectionPlan.Load(file)
            : throw new ToolException(Directory.Exists(path)
                ? $"{path} has no {SelectionPlan.FileName}: it is not a pruned model of DispLlm. Give a plan file, or a pruned folder."
                : $"{path}: there is no such plan file or folder.");
    }
}
