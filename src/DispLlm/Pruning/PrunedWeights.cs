using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Writes the weights of a pruned folder, shard by shard as the source has them, and their index. A finished shard is flushed to the disk
/// while the next one is written.
/// </summary>
internal sealed class PrunedWeights
{
    private const string SingleFile = "model.safetensors";
    private const string IndexFile = "model.safetensors.index.json";

    private readonly CheckpointFolder _source;
    private readonly SelectionPlan _plan;
    private readonly WeightReconstruction? _reconstruction;
    private readonly Dictionary<string, CheckpointTensor> _tensors;
    private readonly string[][] _shards;

    public PrunedWeights(CheckpointFolder source, IReadOnlyList<CheckpointTensor> tensors, SelectionPlan plan,
        WeightReconstruction? reconstruction)
    {
        _source = source;
        _plan = plan;
        _reconstruction = reconstruction;
        _tensors = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        _shards = [.. source.Shards
            .Select(shard => shard.TensorNames.Where(_tensors.ContainsKey).ToArray())
            .Where(names => names.Length > 0)];
    }

    public void Write(string folder, IProgress<PruningProgress>? progress, CancellationToken cancellation)
    {
        int written = 0;
        var clock = Stopwatch.StartNew();
        void Report() => progress?.Report(new PruningProgress(PruningPhase.Saving, ++written, _tensors.Count, clock.Elapsed));

        var map = new JsonObject();
        long bytes = 0;
        var flushes = new List<Task>();
        try
        {
            for (int i = 0; i < _shards.Length; i++)
            {
                string file = _shards.Length == 1 ? SingleFile : $"model-{i + 1:D5}-of-{_shards.Length:D5}.safetensors";
                var indices = i == _shards.Length - 1 ? Indices() : [];
                TensorInfo[] infos =
                [
                    .. _shards[i].Select(name =>
                        new TensorInfo(name, _source.Info(name).Type, [.. _tensors[name].Prune(_plan).Shape])),
                    .. indices.Select(index => new TensorInfo(index.Name, ScalarType.Int32, [index.Values.Count])),
                ];
                var shard = WriteShard(Path.Combine(folder, file), infos, _shards[i], indices, Report, cancellation);
                flushes.Add(Task.Run(() => Flush(shard), CancellationToken.None));
                bytes += infos.Sum(info => info.ByteCount);
                foreach (var info in infos)
                {
                    map[info.Name] = file;
                }
            }

            Task.WhenAll(flushes).GetAwaiter().GetResult();
        }
        catch
        {
            // The folder is about to be deleted: wait until nothing is written in it.
            Task.WaitAny([Task.WhenAll(flushes)], CancellationToken.None);
            throw;
        }

        if (_shards.Length > 1)
        {
            var index = new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = bytes }, ["weight_map"] = map };
            AtomicFile.Write(Path.Combine(folder, IndexFile), index);
        }
    }

    /// <summary>Writes one shard, but for the flush to the disk.</summary>
    private SafetensorsWriter WriteShard(
        string path,
        TensorInfo[] infos,
        string[] names,
        List<(string Name, IReadOnlyList<int> Values)> indices,
        Action report,
        CancellationToken cancellation)
    {
        var writer = SafetensorsWriter.Create(path, infos);
        try
        {
            using var pieces = new PieceStream(writer);
            foreach (string name in names)
            {
                var (tensor, info) = (_tensors[name], _source.Info(name));
                if (IsReconstructed(tensor))
                {
                    pieces.Flush();
                    using var scope = NewDisposeScope();
                    Tensor joined = tensor.Prune(_plan).Join(part => _reconstruction!.Weight(part.Role, part.Block)!);
                    writer.Write(name, joined.to(info.Type, copy: true));
                }
                else
                {
                    new TensorCut(PrunedSlice.For(tensor, _plan)).Stream(_source, info, pieces, cancellation);
                }

                report();
            }

            pieces.Flush();
            foreach (var (name, values) in indices)
            {
                writer.Write(name, MemoryMarshal.AsBytes<int>(values.ToArray()));
            }

            return writer;
        }
        catch
        {
            writer.Dispose();
            throw;
        }
    }

    private static void Flush(SafetensorsWriter shard)
    {
        using (shard)
        {
            shard.Complete();
        }
    }

    private List<(string Name, IReadOnlyList<int> Values)> Indices() =>
    [
        .. from block in Enumerable.Range(0, _plan.Blocks.Count)
           from site in PrunedFormat.IndexedSites
           select (PrunedFormat.IndexTensor(block, site), _plan.Blocks[block][site]),
    ];

    /// <summary>Whether a tensor is corrected: all parameters that it holds are, or none.</summary>
    private bool IsReconstructed(CheckpointTensor tensor) =>
        !tensor.IsBias && tensor.Block >= 0 && _reconstruction?.Weight(tensor.Role, tensor.Block) is not null;
}
