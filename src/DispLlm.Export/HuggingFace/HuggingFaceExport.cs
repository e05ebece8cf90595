using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>
/// Writes a pruned folder in the present format, which transformers opens with <c>trust_remote_code=True</c>, or as an ordinary model where
/// only sizes differ: for folders of older formats, which no other program opens. Thread-safe.
/// </summary>
public static class HuggingFaceExport
{
    /// <summary>Writes a folder. It appears whole or not at all; at most one tensor is in memory.</summary>
    /// <param name="folder">The pruned checkpoint folder. It is only read.</param>
    /// <param name="target">The folder to create; it may not exist yet, or be empty.</param>
    /// <param name="options">How; null for defaults.</param>
    /// <param name="progress">Where every written tensor is reported to.</param>
    /// <param name="cancellationToken">Looked at before each tensor; no folder is left.</param>
    /// <exception cref="ExportException">The folder is not pruned: transformers opens it as it is.</exception>
    /// <exception cref="DispLlmException">The folder is damaged or not known, or the target holds files.</exception>
    public static async Task<ExportResult> WriteAsync(string folder, string target, HuggingFaceExportOptions? options = null,
        IProgress<ExportProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        options ??= new();
        ArgumentNullException.ThrowIfNull(options.Families);
        return await Task.Run(() => Write(folder, target, options, progress, cancellationToken), cancellationToken).ConfigureAwait(false);
    }

    private static ExportResult Write(string folder, string target, HuggingFaceExportOptions options, IProgress<ExportProgress>? progress,
        CancellationToken cancellation)
    {
        using var source = CheckpointSource.Open(folder, options.Families);
        if (source.Plan is not { } plan)
        {
            throw new ExportException(
                "huggingface", "displlm", $"{source.Folder.FolderPath}: the folder is not pruned. Transformers opens it as it is.");
        }

        return ExportFolder.Write(target, partial =>
        {
            var tensors = ParameterCatalog.CheckpointTensors(source.Spec, source.Family).Prune(plan)
                .Select(tensor => Keep(source, plan, tensor.NamedIn(source.Folder, source.Family))).ToList();
            WeightShards.Write(partial, tensors, new ExportClock(progress, tensors.Count), cancellation);
            var config = new PrunedConfig(source.DenseConfig, source.Spec, source.Family, plan);
            config.WriteFiles(partial, source.Folder);
            return [config.Audience];
        });
    }

    /// <summary>A tensor as it is stored; a norm that an older folder holds whole is cut.</summary>
    private static WeightShards.Entry Keep(CheckpointSource source, SelectionPlan plan, CheckpointTensor tensor)
    {
        var info = source.Folder.WeightInfo(tensor.Name);
        return new WeightShards.Entry(info with { Shape = [.. tensor.Shape] }, () =>
        {
            Tensor stored = source.Folder.ReadWeight(tensor.Name, CPU, info.Type);
            return stored.shape.SequenceEqual(tensor.Shape) ? stored
                : stored.index_select(0, CheckpointSource.Index(plan.KeptRows(tensor.Parts[0].Parameter)!));
        });
    }
}
