using DispLlm;
using DispLlm.Export;
using Microsoft.Extensions.AI;
using Microsoft.ML.OnnxRuntimeGenAI;

// A folder of your own, dense, may be given.
string dense = args.Length > 0 ? args[0] : Path.Combine(AppContext.BaseDirectory, "model");
string work = Directory.CreateTempSubdirectory("displlm-").FullName;
string pruned = Path.Combine(work, "pruned"), onnx = Path.Combine(work, "onnx");

// Prune: by the size of weights, which takes seconds. PruneFirstModel learns what to keep.
using (var model = PrunableModel.Load(dense))
{
    var result = await PruningPipeline.For(model).WithPruningRatio(0.1).WithStrategy(new MagnitudeSelection()).RunAsync();
    await result.SaveAsync(pruned);
    Console.WriteLine($"{result.Before.WholeModel:N0} parameters -> {result.After.WholeModel:N0}");
}

// Export. What follows needs the folder and ONNX Runtime GenAI, and neither DispLlm nor TorchSharp.
var written = await OnnxExport.WriteAsync(pruned, onnx, new OnnxExportOptions { WeightType = OnnxWeightType.Int8 });
Console.WriteLine($"{written.Path}: {written.Bytes / 1e6:F1} MB");
written.Notes.ToList().ForEach(Console.WriteLine);

// Chat. The sample's model only continues texts, from the token that begins one; a chat model brings a template: leave the formatter out.
using IChatClient client = new OnnxRuntimeGenAIChatClient(onnx, new OnnxRuntimeGenAIChatClientOptions
{
    PromptFormatter = (messages, _) => "<s>" + string.Concat(messages.Select(message => message.Text)),
});
const string Prompt = "The captain looked at the";
Console.Write("\n" + Prompt);
await foreach (var update in client.GetStreamingResponseAsync(Prompt, new ChatOptions { MaxOutputTokens = 24 }))
{
    Console.Write(update.Text);
}

Console.WriteLine();
