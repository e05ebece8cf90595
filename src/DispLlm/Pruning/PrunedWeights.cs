using System.Diagnostics;
using System.Text.Json.Nodes;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>
/// Writes the weights of a pruned folder, shard by shard as the source has them, and their index. A finished shard is flushed to the disk
/// while the next one is written.
/// </summary>
internal sealed class PrunedWeights
{
    private readonly CheckpointFolder _source;
    private readonly SelectionPlan _plan;
    private readonly WeightReconstruction? _reconstruction;
    private readonly KeptTensor[][] _shards;

    private sealed record KeptTensor(CheckpointTensor Dense, CheckpointTensor Pruned);

    public PrunedWeights(CheckpointFolder source, IReadOnlyList<CheckpointTensor> tensors, SelectionPlan plan,
        WeightReconstruction? reconstruction)
    {
        _source = source;
        _plan = plan;
        _reconstruction = reconstruction;
        var kept = tensors.Select(tensor => (Dense: tensor, Pruned: tensor.Prune(plan))).Where(pair => pair.Pruned is not null)
            .ToDictionary(pair => pair.Dense.Name, pair => new KeptTensor(pair.Dense, pair.Pruned!), StringComparer.Ordinal);
        _shards = [.. source.Shards
            .Select(shard => shard.TensorNames.Where(kept.ContainsKey).Select(name => kept[name]).ToArray())
            .Where(shard => shard.Length > 0)];
    }

    public void Write(string folder, IProgress<PruningProgress>? progress, CancellationToken cancellation)
    {
        int written = 0, count = _shards.Sum(shard => shard.Length);
        var clock = Stopwatch.StartNew();
        void Report() => progress?.Report(new PruningProgress(PruningPhase.Saving, ++written, count, clock.Elapsed));

        var map = new JsonObject();
        long bytes = 0;
        var flushes = new List<Task>();
        try
        {
            for (int i = 0; i < _shards.Length; i++)
            {
                string file = ShardIndex.FileName(i, _shards.Length);
                TensorInfo[] infos =
                [
                    .. _shards[i].Select(tensor =>
                        new TensorInfo(tensor.Pruned.Name, _source.Info(tensor.Dense.Name).Type, [.. tensor.Pruned.Shape])),
                ];
                var shard = WriteShard(Path.Combine(folder, file), infos, _shards[i], Report, cancellation);
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
            ShardIndex.Write(folder, map, bytes);
        }
    }

    /// <summary>Writes one shard, but for the flush to the disk.</summary>
    private SafetensorsWriter WriteShard(
        string path, TensorInfo[] infos, KeptTensor[] tensors, Action report, CancellationToken cancellation)
    {
        var writer = SafetensorsWriter.Create(path, infos);
        try
        {
            using var pieces = new PieceStream(writer);
            foreach (var (dense, pruned) in tensors)
            {
                var info = _source.Info(dense.Name);
                if (IsReconstructed(dense))
                {
                    pieces.Flush();
                    using var scope = NewDisposeScope();
                    Tensor joined = pruned.Join(part => _reconstruction!.Weight(part.Role, part.Block)!);
                    writer.Write(pruned.Name, joined.to(info.Type, copy: true));
                }
                else
                {
                    new TensorCut(PrunedSlice.For(dense, _plan)).Stream(_source, info, pruned.Name, pieces, cancellation);
                }

                report();
            }

            pieces.Flush();
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

    /// <summary>Whether a tensor is corrected: all parameters that it holds are, or none.</summary>
    private bool IsReconstructed(CheckpointTensor tensor) =>
        !tensor.IsBias && tensor.Block >= 0 && _reconstruction?.Weight(tensor.Role, tensor.Block) is not null;
}
