using TorchSharp;

namespace DispLlm.Tool.Tests;

/// <summary>
/// A folder with the sample's small LLaMA in <c>model</c>, the same without its tokenizer in <c>bare</c>, and texts in <c>text.txt</c> and
/// <c>short.txt</c>; deleted with the test.
/// </summary>
public class TestFolder : IDisposable
{
    static TestFolder()
    {
        // The model is so small that threads only wait for each other.
        TorchBackend.Cpu();
        torch.set_num_threads(1);
    }

    public TestFolder()
    {
        Directory.CreateDirectory(this["model"]);
        foreach (string file in Directory.EnumerateFiles(Path.Combine(Repository.Root, "samples/PruneFirstModel/model")))
        {
            File.Copy(file, Path.Combine(this["model"], Path.GetFileName(file)));
        }


        // A part, so that its length does not change with the page: tests know for what it is too short.
        File.WriteAllText(this["text.txt"], File.ReadAllText(Path.Combine(Repository.Root, "docs/method.md"))[..10000]);
        File.WriteAllText(this["short.txt"], "A few words.");
        Directory.CreateDirectory(this["bare"]);
        foreach (string file in (string[])["config.json", "model.safetensors"])
        {
            File.Copy(Path.Combine(this["model"], file), Path.Combine(this["bare"], file));
        }
    }

    public string Folder { get; } = Directory.CreateTempSubdirectory("displlm-tool-").FullName;

    public string this[string name] => Path.Combine(Folder, name);

    /// <summary>Runs the tool in this process, with this folder as the current directory.</summary>
    public async Task<Outcome> RunAsync(params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        string directory = Environment.CurrentDirectory;
        Environment.CurrentDirectory = Folder;
        try
        {
            int exitCode = await DispLlmCli.RunAsync(arguments, TextWriter.Synchronized(output), TextWriter.Synchronized(error));
            return new Outcome(exitCode, output.ToString(), error.ToString());
        }
        finally
        {
            Environment.CurrentDirectory = directory;
        }
    }

    public void Dispose()
    {
        GC.SuppressFinalize(this);
        Directory.Delete(Folder, recursive: true);
    }
}
