namespace DispLlm.Export;

/// <summary>
/// Writes a checkpoint folder, dense or pruned, as a GGUF file for llama.cpp and what is built on it (Ollama, LM Studio, LLamaSharp).
/// Thread-safe.
/// </summary>
public static class GgufExport
{
    /// <summary>
    /// Writes the file. One tensor is in memory at a time, and the file has its name when it is complete: a kill at any moment leaves no
    /// file or the whole one. The same checkpoint gives the same bytes.
    /// </summary>
    /// <param name="folder">The checkpoint folder.</param>
    /// <param name="targetFile">The file to write, usually <c>*.gguf</c>; it may not exist yet, or be empty.</param>
    /// <param name="options">Options. Default: null, all defaults.</param>
    /// <param name="progress">Where every written tensor is reported to.</param>
    /// <param name="cancellationToken">Looked at between pieces; no file is left.</param>
    /// <exception cref="ExportException">llama.cpp cannot compute the model; what it lacks is named.</exception>
    /// <exception cref="DispLlmException">The folder is damaged or contradicts itself, or the target exists.</exception>
    public static async Task<ExportResult> WriteAsync(
        string folder, string targetFile, GgufExportOptions? options = null, IProgress<ExportProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentException.ThrowIfNullOrEmpty(targetFile);
        var valid = (options ?? new()).Validated();
        return await Task.Run(() => Write(folder, targetFile, valid, progress, cancellationToken), cancellationToken).ConfigureAwait(false);
    }

    private static ExportResult Write(
        string folder, string targetFile, GgufExportOptions options, IProgress<ExportProgress>? progress,
        CancellationToken cancellationToken)
    {
        string target = PartialPath.Resolve(targetFile);
        if (Directory.Exists(target) || new FileInfo(target) is { Exists: true, Length: > 0 })
        {
            throw new DispLlmException($"{target} exists. Nothing is overwritten: choose another file, or remove it first.");
        }

        using var source = CheckpointSource.Open(folder, options.Families);
        var layout = GgufLayout.Choose(source, options.Type);
        var tensors = GgufTensors.List(source, layout, options.Type);
        List<string> notes = [.. Notes(source, layout, tensors, options.Type)];
        byte[] header = GgufWriter.Header(
            [.. GgufMetadata.Describe(source, layout, tensors, options), .. GgufTokenizer.Describe(source, notes)], tensors);

        var clock = new ExportClock(progress, tensors.Count);
        Directory.CreateDirectory(Path.GetDirectoryName(target)!);
        using var file = new AtomicFile(target);
        file.Append(header);
        for (int index = 0; index < tensors.Count; index++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            GgufWriter.Append(file, tensors[index], cancellationToken);
            file.FlushAhead();
            clock.Wrote();
        }

        long bytes = file.Stream.Position;
        file.Complete();
        return new ExportResult(target, bytes, notes);
    }

    private static IEnumerable<string> Notes(
        CheckpointSource source, GgufLayout layout, IReadOnlyList<GgufTensor> tensors, GgufType type)
    {
        var (architecture, spec) = (layout.Architecture, source.Spec);
        yield return $"The architecture is '{architecture.Name}'.";
        foreach (string note in layout.Notes(source))
        {
            yield return note;
        }

        if (GgufRotary.Context(architecture, spec).Note is { } context)
        {
            yield return context;
        }

        if (!architecture.LearnedPositions && GgufRotary.FullRotary(spec).Scaling is RotaryScaling.LongRope longRope)
        {
            yield return "LongRoPE: llama.cpp takes the factors for long sequences wherever its context is longer than "
                + $"{longRope.OriginalMaxPositions} tokens, even for a short sequence. Give it a context of at most that for the short "
                + "factors.";
        }

        if (spec.Activation == Activation.Gelu)
        {
            yield return "llama.cpp computes the exact GELU of this model by its tanh approximation.";
        }

        int others = tensors.Count(tensor => tensor.Type == GgufType.F16);
        if (GgufEncoding.IsBlocked(type) && others > 0)
        {
            yield return $"{others} matrices are {GgufType.F16}: their rows are no whole blocks of {GgufEncoding.BlockSize} numbers. Prune "
                + "to widths that are multiples of it.";
        }

        if (type == GgufType.Q4_0)
        {
            yield return $"Token embedding and head are {GgufType.Q8_0}.";
        }
    }
}
