using System.Text.Json;

namespace DispLlm.Checkpoints;

/// <summary>Reads <c>model.safetensors.index.json</c> or <c>pytorch_model.bin.index.json</c>: which shard holds which tensor.</summary>
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
