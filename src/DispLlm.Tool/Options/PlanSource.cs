namespace DispLlm.Tool;

/// <summary>Plans where people have them: in a file, or in a folder that was cut by one.</summary>
internal static class PlanSource
{
    /// <summary>Reads the plan of a file or of a pruned folder.</summary>
    /// <exception cref="DispLlmException">There is no plan, or it is damaged.</exception>
    public static SelectionPlan Load(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, SelectionPlan.FileName) : path;
        return File.Exists(file)
            ? SelectionPlan.Load(file)
            : throw new ToolException(Directory.Exists(path)
                ? $"{path} has no {SelectionPlan.FileName}: it was not cut by DispLlm. Give a plan file, or a pruned folder."
                : $"{path}: there is no such plan file or folder.");
    }
}
