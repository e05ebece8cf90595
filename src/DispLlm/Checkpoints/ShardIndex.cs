using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace DispLlm.Checkpoints;

/// <summary>
/// <c>model.safetensors.index.json</c> or <c>pytorch_model.bin.index.json</c>: which shard holds which tensor. Both are read; the first is
/// written.
/// </summary>
internal static class ShardIndex
{
    private const string MapKey = "weight_map";

    /// <summary>
    /// The shards in the order of their names, and their tensors in the order of the index. All shards are known to exist.
    /// </summary>
    /// <exception cref="CheckpointException">
    /// The index is malformed, names a file outside its folder, or a shard that is missing.
    /// </exception>
    public static IReadOnlyList<CheckpointShard> Load(string path)
    {
        var json = StrictJson.LoadObject(path, out path);
        if (!json.TryGetProperty(MapKey, out var map) || map.ValueKind != JsonValueKind.Object)
        {
            throw new CheckpointException(
                path, MapKey, "an object that gives each tensor's file is needed. The index is damaged: fetch it again.");
        }

        var shards = new SortedDictionary<string, List<string>>(StringComparer.Ordinal);
        foreach (var entry in map.EnumerateObject())
        {
            string shard = entry.Value.ValueKind == JsonValueKind.String
                ? entry.Value.GetString()!
                : throw new CheckpointException(
                    path, entry.Name, $"its file is given as {CheckpointException.Quote(entry.Value.GetRawText())} instead of a name.");
            if (!shards.TryGetValue(shard, out var names))
            {
                CheckName(path, entry.Name, shard);
                shards.Add(shard, names = []);
            }

            names.Add(entry.Name);
        }

        return [.. shards.Select(shard => new CheckpointShard(shard.Key, shard.Value.AsReadOnly()))];
    }

    /// <summary>The name of a safetensors file that is written.</summary>
    /// <param name="shard">Its index from 0.</param>
    /// <param name="count">How many there are.</param>
    public static string FileName(int shard, int count) => count == 1
        ? WeightsFormat.Safetensors.SingleFile
        : string.Create(CultureInfo.InvariantCulture, $"model-{shard + 1:D5}-of-{count:D5}.safetensors");

    /// <summary>Writes the index of several safetensors files.</summary>
    /// <param name="folder">Their folder.</param>
    /// <param name="map">The file of each tensor.</param>
    /// <param name="bytes">Bytes of all tensors.</param>
    public static void Write(string folder, JsonObject map, long bytes) => AtomicFile.Write(
        Path.Combine(folder, WeightsFormat.Safetensors.IndexFile),
        new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = bytes }, [MapKey] = map });

    /// <summary>
    /// An index comes from outside, and whoever wrote it must not choose which files of this machine are opened. Separators of every
    /// system are refused on every system: a checkpoint means the same everywhere.
    /// </summary>
    private static void CheckName(string path, string tensor, string shard)
    {
        bool leaves = shard.Length == 0 || shard is "." or ".." || shard.AsSpan().IndexOfAny("/\\:\0") >= 0 || Path.IsPathRooted(shard);
        if (leaves)
        {
            throw new CheckpointException(
                path, tensor, $"its file {CheckpointException.Quote(shard)} is not a plain file name in the index's folder. Do not trust "
                    + "this checkpoint.");
        }

        if (!File.Exists(Path.Combine(Path.GetDirectoryName(path)!, shard)))
        {
            throw new CheckpointException(
                path, tensor, $"its file {CheckpointException.Quote(shard)} is missing from the folder. Is the download complete?");
        }
    }
}
