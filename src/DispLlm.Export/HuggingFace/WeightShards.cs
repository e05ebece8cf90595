using System.Text.Json.Nodes;
using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>
/// Writes tensors into a folder as safetensors: one file, or shards and their index where they are large, as transformers does.
/// </summary>
internal static class WeightShards
{
    private const long ShardBytes = 5_000_000_000;

    /// <summary>One tensor to write. It is read when its turn comes.</summary>
    /// <param name="Info">Its name, type and shape.</param>
    /// <param name="Read">Gives its value.</param>
    public sealed record Entry(TensorInfo Info, Func<Tensor> Read);

    /// <summary>Writes tensors in their order.</summary>
    public static void Write(string folder, IReadOnlyList<Entry> tensors, ExportClock clock, CancellationToken cancellation)
    {
        var shards = Split(tensors);
        var map = new JsonObject();
        for (int i = 0; i < shards.Count; i++)
        {
            string name = ShardIndex.FileName(i, shards.Count);
            using var writer = SafetensorsWriter.Create(Path.Combine(folder, name), shards[i].Select(tensor => tensor.Info));
            foreach (var tensor in shards[i])
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                writer.Write(tensor.Info.Name, tensor.Read());
                map[tensor.Info.Name] = name;
                clock.Wrote();
            }

            writer.Complete();
        }

        if (shards.Count > 1)
        {
            ShardIndex.Write(folder, map, tensors.Sum(tensor => tensor.Info.ByteCount));
        }
    }

    private static List<List<Entry>> Split(IReadOnlyList<Entry> tensors)
    {
        var shards = new List<List<Entry>> { new() };
        long bytes = 0;
        foreach (var tensor in tensors)
        {
            if (bytes > 0 && bytes + tensor.Info.ByteCount > ShardBytes)
            {
                shards.Add([]);
                bytes = 0;
            }

            shards[^1].Add(tensor);
            bytes += tensor.Info.ByteCount;
        }

        return shards;
    }
}
