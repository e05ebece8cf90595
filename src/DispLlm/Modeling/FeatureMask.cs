namespace DispLlm.Modeling;

/// <summary>
/// The text for a set of features in a pruned folder's <c>config.json</c>: base64 of a bit mask, the first feature in the lowest bit of the
/// first byte.
/// </summary>
internal static class FeatureMask
{
    /// <summary>The mask of kept features; null where all are kept.</summary>
    public static string? Encode(IReadOnlyList<int> kept, int size)
    {
        if (kept.Count == size)
        {
            return null;
        }

        byte[] bytes = new byte[(size + 7) / 8];
        foreach (int feature in kept)
        {
            bytes[feature / 8] |= (byte)(1 << (feature % 8));
        }

        return Convert.ToBase64String(bytes);
    }
}
