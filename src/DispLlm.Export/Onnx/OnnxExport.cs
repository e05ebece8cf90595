using System.Globalization;
using Google.Protobuf;
using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>
/// Writes a checkpoint, dense or pruned, as a folder for ONNX Runtime GenAI: the graph <c>model.onnx</c>, its numbers
/// <c>model.onnx.data</c>, <c>genai_config.json</c> and the tokenizer's files. What pruning cut is not in it. Thread-safe.
/// </summary>
public static class OnnxExport
{
    private const string Format = "onnx";
    private const string GraphName = "model.onnx";

    /// <summary>
    /// Writes the folder. One tensor is in memory at a time. The target appears when it is complete; what is cancelled or fails leaves
    /// nothing.
    /// </summary>
    /// <param name="folder">The checkpoint folder. It is only read.</param>
    /// <param name="target">The folder to create; it may not exist yet, or be empty. A link is followed.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="progress">Where every parameter that is written is reported to.</param>
    /// <param name="cancellationToken">Looked at before each parameter.</param>
    /// <returns>What was written.</returns>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <exception cref="ExportException">ONNX Runtime GenAI lacks something that the model needs; it is named.</exception>
    /// <exception cref="DispLlmException">The target holds files, or the source is damaged or of a family that is not known.</exception>
    public static Task<ExportResult> WriteAsync(
        string folder, string target, OnnxExportOptions? options = null, IProgress<ExportProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentException.ThrowIfNullOrEmpty(target);
        options ??= new OnnxExportOptions();
        options.Validate();
        return Task.Run(() => Write(folder, target, options, progress, cancellationToken), cancellationToken);
    }

    private static ExportResult Write(
        string folder, string target, OnnxExportOptions options, IProgress<ExportProgress>? progress, CancellationToken cancellationToken)
    {
        using var source = CheckpointSource.Open(folder, options.Families);
        int contextLength = ContextLength(source.Spec, options);
        if (Enumerable.Range(0, source.Spec.NumLayers).All(block => source.KeyValueHeads(block) == 0))
        {
            throw new ExportException(
                Format, nameof(SelectionSite.AttentionGroups),
                "No block of the model has attention. ONNX Runtime GenAI needs one with a cache: prune with fewer groups removed.");
        }

        return ExportFolder.Write(target, partial =>
        {
            AtomicFile.Write(Path.Combine(partial, GenAiConfig.Name), GenAiConfig.Create(source, GraphName, contextLength));
            WriteTokenizer(source.Folder, partial);
            WriteGraph(source, partial, contextLength, options, progress, cancellationToken);
            return [.. OnnxNotes.Create(source, options, contextLength)];
        });
    }

    private static void WriteGraph(
        CheckpointSource source, string folder, int contextLength, OnnxExportOptions options, IProgress<ExportProgress>? progress,
        CancellationToken cancellationToken)
    {
        using var noGradient = no_grad();
        using var data = new OnnxDataFile(folder);
        var graph = new OnnxGraph(options.WeightType == OnnxWeightType.Float16 ? ScalarType.Float16 : ScalarType.Float32);
        var weights = new OnnxWeights(source, graph, data, options, progress, cancellationToken);
        new OnnxDecoder(source, graph, weights, new OnnxSequence(graph, contextLength), options).Add();
        data.Flush();
        string version = typeof(OnnxExport).Assembly.GetName().Version!.ToString(3);
        AtomicFile.Write(Path.Combine(folder, GraphName), stream => graph.ToModel(version).WriteTo(stream));
    }

    private static void WriteTokenizer(CheckpointFolder folder, string target)
    {
        folder.CopyTokenizer(target);
        if (SentencePieceJson.IsNeeded(folder))
        {
            var tokenizer = TextTokenizer.FromFolder(folder.FolderPath);
            var model = SentencePieceModel.Read(Path.Combine(target, SentencePieceJson.SourceName));
            AtomicFile.Write(Path.Combine(target, SentencePieceJson.Name), SentencePieceJson.Create(model, tokenizer.AddBosToken));
        }
    }

    /// <summary>The longest sequence: frequencies in the graph do not change with the length, so that it ends where they would.</summary>
    private static int ContextLength(DecoderSpec spec, OnnxExportOptions options)
    {
        int longest = OnnxSequence.LongestExact(spec);
        return options.ContextLength is not { } wanted ? longest
            : wanted <= longest ? wanted
            : throw new ExportException(
                Format, nameof(OnnxExportOptions.ContextLength),
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{nameof(OnnxExportOptions.ContextLength)} is {wanted}, but the graph computes no more than {longest} tokens of this ")
                + "model exactly: ask for at most so many.");
    }
}
