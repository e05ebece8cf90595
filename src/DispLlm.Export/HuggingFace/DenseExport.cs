using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>How a folder is written for Hugging Face programs. An immutable value.</summary>
public sealed record HuggingFaceExportOptions
{
    /// <summary>The families that the checkpoint may belong to. Default: those that come with the library.</summary>
    public ModelFamilies Families { get; init; } = ModelFamilies.BuiltIn;
}

/// <summary>
/// Writes a pruned model as an ordinary checkpoint of its family, at full width, with zeros where something was cut: for programs that know
/// nothing else. Exact, and no smaller. Thread-safe.
/// </summary>
public static class DenseExport
{
    private const string Format = "dense";

    /// <summary>Writes a folder. It appears whole or not at all; at most one tensor is in memory.</summary>
    /// <param name="folder">The pruned checkpoint folder. It is only read.</param>
    /// <param name="target">The folder to create; it may not exist yet, or be empty.</param>
    /// <param name="options">How; null for defaults.</param>
    /// <param name="progress">Where every written tensor is reported to.</param>
    /// <param name="cancellationToken">Looked at before each tensor; no folder is left.</param>
    /// <exception cref="ExportException">
    /// Zeros would compute something else: the model selects before norms, has norms after what is cut, or one narrower stream.
    /// </exception>
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
        const string Instead = "Export to onnx, which computes what is kept, or use the folder as it is: transformers opens it.";
        if (source.Plan?.Stream is { } stream)
        {
            throw new ExportException(
                Format, nameof(SelectionPlan.Layout),
                $"{source.Folder.FolderPath}: the model has one residual stream of {stream.Count} features, and its norms would count "
                    + $"zeros. {Instead}");
        }

        WideModel.EnsureExact(source, Format, Instead);
        return ExportFolder.Write(target, partial =>
        {
            // Tensors of heads that are left have other numbers; all of a dense folder have the names of the dense model.
            var tensors = ParameterCatalog.CheckpointTensors(source.Spec, source.Family)
                .Select(dense => Widen(source, dense)).OfType<WeightShards.Entry>().ToList();
            WeightShards.Write(partial, tensors, new ExportClock(progress, tensors.Count), cancellation);
            AtomicFile.Write(Path.Combine(partial, CheckpointFolder.ConfigFile), source.DenseConfig.ToJson());
            source.Folder.CopyTokenizer(partial);
            return source.Plan is null ? ["The folder was dense already."]
                : ["This folder is no smaller than the dense model: what was cut is there as zeros."];
        });
    }

    private static WeightShards.Entry Widen(CheckpointSource source, CheckpointTensor dense)
    {
        var pruned = dense.Prune(source.Plan)?.NamedIn(source.Folder, source.Family);
        string name = dense.NamedIn(source.Folder, source.Family).Name;
        if (pruned is null)
        {
            // The norm of a head that was cut. Any weights do: the head's values are zeros, and nothing reads them.
            var type = source.WeightType;
            return new WeightShards.Entry(new TensorInfo(name, type, [.. dense.Shape]), () => zeros([.. dense.Shape], type));
        }

        var info = source.Folder.WeightInfo(pruned.Name);
        var slice = source.Plan is { } plan && dense.Head is null ? PrunedSlice.For(dense, plan) : default;
        return new WeightShards.Entry(new TensorInfo(name, info.Type, [.. dense.Shape]), () =>
        {
            Tensor stored = source.Folder.ReadWeight(pruned.Name, CPU, info.Type);
            stored = slice.Columns is null ? stored : CheckpointSource.Spread(stored, 1, slice.Columns, dense.Shape[1]);
            return slice.Rows is null ? stored : CheckpointSource.Spread(stored, 0, slice.Rows, dense.Shape[0]);
        });
    }
}
