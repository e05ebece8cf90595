namespace DispLlm.Tool.Tests;

/// <summary>A folder with the sample's small LLaMA in <c>model</c> and a text in <c>text.txt</c>; gone when the test is.</summary>
public class Workplace : IDisposable
{
    public Workplace()
    {
        Directory.CreateDirectory(this["model"]);
        foreach (string file in Directory.EnumerateFiles(Path.Combine(Repository.Root, "samples/PruneFirstModel/model")))
        {
            File.Copy(file, Path.Combine(this["model"], Path.GetFileName(file)));
        }

        File.Copy(Path.Combine(Repository.Root, "docs/method.md"), this["text.txt"]);
    }

    public string Folder { get; } = Directory.CreateTempSubdirectory("displlm-tool-").FullName;

    public string this[string name] => Path.Combine(Folder, name);

    public Task<Outcome> RunAsync(params string[] arguments) => ToolProcess.RunAsync(Folder, arguments);

    public void Dispose()
    {
        GC.SuppressFinalize(this);
        Directory.Delete(Folder, recursive: true);
    }
}
