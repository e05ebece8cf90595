namespace DispLlm.Tool;

/// <summary>The weights of a checkpoint folder on disk.</summary>
internal static class WeightFiles
{
    public static long Bytes(string folder)
    {
        using var checkpoint = CheckpointFolder.Open(folder);
        return checkpoint.Shards.Sum(shard => new FileInfo(Path.Combine(checkpoint.FolderPath, shard.FileName)).Length);
    }
}
