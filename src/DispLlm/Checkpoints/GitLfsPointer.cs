namespace DispLlm.Checkpoints;

/// <summary>The small text that stands in a clone for a large file that Git LFS has not fetched.</summary>
internal static class GitLfsPointer
{
    /// <summary>Whether a file that begins like this is such a text.</summary>
    public static bool IsPointer(ReadOnlySpan<byte> start) => start.StartsWith("version https://git-lfs"u8);

    /// <summary>What to do about it.</summary>
    /// <param name="what">What the file should hold: weights, tokenizer.</param>
    public static string Remedy(string what) => $"this is Git LFS's pointer to the {what}, not the {what}. Fetch it: git lfs pull.";
}
