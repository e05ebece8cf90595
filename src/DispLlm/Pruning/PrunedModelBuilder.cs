using System.Text.Json;
using System.Text.Json.Nodes;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Cuts a checkpoint folder by a plan: dense folder and plan in, pruned folder out, tensor by tensor, sharded as the source is. The result is
/// an ordinary checkpoint folder that <see cref="PrunableModel.Load"/> reads, and that a program that knows nothing of pruning refuses.
/// </summary>
public sealed class PrunedModelBuilder
{
    private const string SingleFile = "model.safetensors";
    private const string IndexFile = "model.safetensors.index.json";

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true, NewLine = "\n" };

    private readonly string _source;
    private readonly IModelFamily? _family;
    private readonly SelectionPlan _plan;
    private readonly Compensation? _compensation;

    /// <summary>Creates a builder.</summary>
    /// <param name="denseFolder">The checkpoint folder to cut. It is only read.</param>
    /// <param name="plan">What to keep.</param>
    public PrunedModelBuilder(string denseFolder, SelectionPlan plan)
        : this(denseFolder, null, plan)
    {
    }

    /// <summary>Creates a builder for a family of the caller's own.</summary>
    /// <param name="denseFolder">The checkpoint folder to cut. It is only read.</param>
    /// <param name="family">The family that names its tensors; null for one that comes with the library.</param>
    /// <param name="plan">What to keep.</param>
    /// <param name="compensation">Corrected weights to write instead of the checkpoint's; null for none. It stays the caller's.</param>
    /// <exception cref="ArgumentException">The compensation is for another plan.</exception>
    public PrunedModelBuilder(string denseFolder, IModelFamily? family, SelectionPlan plan, Compensation? compensation = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(denseFolder);
        ArgumentNullException.ThrowIfNull(plan);
        if (compensation is not null && !compensation.Plan.Equals(plan))
        {
            throw new ArgumentException("The compensation is for another plan: its weights do not fit what this one keeps.", nameof(compensation));
        }

        _compensation = compensation;
        _source = denseFolder;
        _family = family;
        _plan = plan;
    }

    /// <summary>
    /// Cuts. Everything is written into a folder beside the target, which takes the target's name when it is complete: a kill at any moment
    /// leaves no target or the whole one.
    /// </summary>
    /// <param name="targetFolder">The folder to make; it may not exist yet, or be empty.</param>
    /// <param name="progress">Told the fraction of bytes that is done, 0 to 1.</param>
    /// <param name="cancellationToken">Looked at between pieces; no folder is left behind.</param>
    /// <exception cref="DispLlmException">The target holds files, or the source is no dense checkpoint.</exception>
    /// <exception cref="SelectionException">The plan was made for a model of another shape, or of another family than the one it names.</exception>
    public void Build(string targetFolder, IProgress<double>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(targetFolder);
        string target = Path.TrimEndingDirectorySeparator(Path.GetFullPath(targetFolder));
        if (File.Exists(target) || (Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any()))
        {
            throw new DispLlmException($"{target} exists and is not empty. Nothing is overwritten: choose another folder, or remove it first.");
        }

        using var source = CheckpointFolder.Open(_source);
        if (source.Config.Has(PrunedFormat.Section))
        {
            throw new DispLlmException($"{_source} is cut already: take the dense checkpoint it was cut from.");
        }

        var family = _family ?? ModelFamilies.BuiltIn.Of(source.Config);
        var spec = DecoderSpec.Read(source.Config, family);
        _plan.Validate(spec);
        if (_plan.Family is { } planned && planned != family.Name)
        {
            throw new SelectionException($"The plan is for a model of family '{planned}', but {_source} is of family '{family.Name}'.");
        }

        DecoderWeights.CheckNames(source, WeightCatalog.Of(spec, family, source), family, null);
        string partial = $"{target}.{Guid.NewGuid():N}.part";
        try
        {
            Directory.CreateDirectory(partial);
            WriteWeights(source, spec, family, partial, progress, cancellationToken);
            var config = PrunedFormat.Configure(source.Config, family, _plan, new ParameterCounter(spec));
            AtomicFile.Write(Path.Combine(partial, "config.json"), Json(config));
            _plan.Save(Path.Combine(partial, SelectionPlan.FileName));
            foreach (string file in source.TokenizerFiles)
            {
                AtomicFile.Copy(file, Path.Combine(partial, Path.GetFileName(file)));
            }

            if (Directory.Exists(target))
            {
                Directory.Delete(target);
            }

            Directory.Move(partial, target);
        }
        catch
        {
            if (Directory.Exists(partial))
            {
                Directory.Delete(partial, recursive: true);
            }

            throw;
        }
    }

    private void WriteWeights(
        CheckpointFolder source, DecoderSpec spec, IModelFamily family, string folder, IProgress<double>? progress, CancellationToken cancellation)
    {
        var slots = WeightCatalog.Of(spec, family, source).ToDictionary(slot => slot.Name, StringComparer.Ordinal);
        string[][] shards = [.. source.Shards
            .Select(shard => shard.TensorNames.Where(slots.ContainsKey).ToArray())
            .Where(names => names.Length > 0)];
        long total = shards.SelectMany(names => names).Sum(name => source.Info(name).ByteCount), done = 0;
        var map = new JsonObject();
        long bytes = 0;
        for (int i = 0; i < shards.Length; i++)
        {
            string file = shards.Length == 1 ? SingleFile : $"model-{i + 1:D5}-of-{shards.Length:D5}.safetensors";
            var indices = i == shards.Length - 1 ? Indices() : [];
            TensorInfo[] infos =
            [
                .. shards[i].Select(name => new TensorInfo(name, source.Info(name).Type, WeightCuts.ShapeOf(slots[name], SelectionOf(slots[name])))),
                .. indices.Select(index => new TensorInfo(index.Name, ScalarType.Int32, [index.Values.Count])),
            ];
            using var writer = SafetensorsWriter.Create(Path.Combine(folder, file), infos);
            foreach (string name in shards[i])
            {
                if (Corrected(slots[name]) is { } corrected)
                {
                    using var stored = corrected.to(source.Info(name).Type, copy: true);
                    writer.Write(name, stored);
                }
                else
                {
                    TensorCut.Of(slots[name], SelectionOf(slots[name])).Stream(source, source.Info(name), writer, cancellation);
                }

                done += source.Info(name).ByteCount;
                progress?.Report((double)done / total);
            }

            foreach (var (name, values) in indices)
            {
                writer.Write(name, System.Runtime.InteropServices.MemoryMarshal.AsBytes<int>(values.ToArray()));
            }

            writer.Complete();
            bytes += infos.Sum(info => info.ByteCount);
            foreach (var info in infos)
            {
                map[info.Name] = file;
            }
        }

        if (shards.Length > 1)
        {
            var index = new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = bytes }, ["weight_map"] = map };
            AtomicFile.Write(Path.Combine(folder, IndexFile), Json(index));
        }
    }

    private List<(string Name, IReadOnlyList<int> Values)> Indices() =>
    [
        .. from block in Enumerable.Range(0, _plan.Blocks.Count)
           from site in PrunedFormat.IndexedSites
           select (PrunedFormat.IndexTensor(block, site), _plan.Blocks[block][site]),
    ];

    private Tensor? Corrected(WeightSlot slot) => slot.IsBias || slot.Block < 0 ? null : _compensation?.Weight(slot.Role, slot.Block);

    private BlockSelection? SelectionOf(WeightSlot slot) => slot.Block < 0 ? null : _plan.Blocks[slot.Block];

    private static string Json(JsonObject json) => json.ToJsonString(s_indented) + "\n";
}
