using System.CommandLine;
using System.Text.Json.Nodes;
using DispLlm.Export;

namespace DispLlm.Tool;

/// <summary>Writes a model for another program.</summary>
internal sealed class ExportCommand : ToolCommand
{
    private readonly Argument<string> _folder = new("folder") { Description = "Checkpoint folder, dense or pruned" };

    private readonly ChoiceOption<ExportFormat> _format = new(
        "--to",
        "onnx (ONNX Runtime GenAI, the default), gguf (llama.cpp, Ollama, LM Studio), huggingface (an older pruned folder as transformers "
            + "opens it), or dense (an ordinary checkpoint with zeros, no smaller)",
        [.. ExportFormat.All.Select(format => (format.Name, format))]);

    private readonly Option<string?> _type = new("--type")
    {
        Description = $"How weights are stored. {string.Join("; ", ExportFormat.All.Where(format => format.Types.Count > 0)
            .Select(format => $"{format.Name}: {string.Join(", ", format.Types)}"))}. Default: the first",
        HelpName = "type",
    };

    private readonly Option<string?> _output = new("--output", "-o")
    {
        Description = "Folder to write, or file for gguf; must not exist. Default: next to the model, such as ./model-pruned-30-onnx",
        HelpName = "path",
    };

    public ExportCommand()
        : base(
            "export",
            "Write a model for ONNX Runtime GenAI, llama.cpp or Hugging Face programs.",
            "displlm export ./model-pruned-30 --to onnx",
            "displlm export ./model-pruned-30 --to gguf --type q8_0 -o model.gguf",
            "displlm export ./model-pruned-30 --to dense")
    {
        Arguments.Add(_folder);
        Options.Add(_format);
        Options.Add(_type);
        Options.Add(_output);
        AddCommonOptions();
        Validators.Add(result =>
        {
            if (result.GetValue(_type) is { } type && _format.ReadOrDefault(result) is { } format && !format.Types.Contains(type))
            {
                result.AddError(format.Types.Count == 0
                    ? $"'--type' means nothing for '--to {format.Name}': weights keep their type."
                    : $"'--type {type}': for {format.Name}, use one of {string.Join(", ", format.Types)}.");
            }
        });
    }

    protected override async Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellationToken)
    {
        string folder = arguments.GetRequiredValue(_folder);
        var format = _format.Read(arguments);
        string? type = arguments.GetValue(_type) ?? (format.Types is [var first, ..] ? first : null);
        string output = arguments.GetValue(_output) ?? OutputPaths.AddSuffix(folder, format.Suffix);
        if (format.IsFile)
        {
            OutputChecks.EnsureNewFile(output);
        }
        else
        {
            OutputChecks.EnsureNewFolder(output);
        }

        var result = await terminal.ShowAsync($"Writing {output}", display => format.WriteAsync(
            folder, output, type, new SynchronousProgress<ExportProgress>(tensors =>
                display.Report((double)tensors.Written / tensors.Total)), cancellationToken).GetAwaiter().GetResult());
        var json = new JsonObject
        {
            ["folder"] = folder,
            ["format"] = format.Name,
            ["type"] = type,
            ["output"] = output,
            ["bytes"] = result.Bytes,
            ["notes"] = new JsonArray([.. result.Notes.Select(note => JsonValue.Create(note))]),
        };
        terminal.Result(json, console =>
        {
            console.WriteUnwrapped($"The model is in {output}: {Formatting.Bytes(result.Bytes)}.");
            foreach (string note in result.Notes)
            {
                console.WriteUnwrapped(note);
            }
        });
    }
}
