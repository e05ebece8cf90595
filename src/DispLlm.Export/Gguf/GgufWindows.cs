namespace DispLlm.Export;

/// <summary>The sliding windows of a model, and whether an architecture of llama.cpp computes them. An immutable value.</summary>
/// <param name="Length">How many tokens each one attends to in blocks with a window: the fewest, where blocks differ.</param>
/// <param name="BlocksPerFullAttention">Every how many blocks one has no window.</param>
/// <param name="IsComputed">Whether the architecture computes them.</param>
internal readonly record struct GgufWindows(int Length, int BlocksPerFullAttention, bool IsComputed)
{
    /// <summary>The windows of a spec; null where there are none.</summary>
    public static GgufWindows? Read(GgufArchitecture architecture, DecoderSpec spec)
    {
        int?[] windows = [.. Enumerable.Range(0, spec.NumLayers).Select(block => spec.GetAttention(block).SlidingWindow)];
        if (windows.Min() is not { } length)
        {
            return null;
        }

        bool Repeats(int count) => windows.Index().All(entry => entry.Item == ((entry.Index + 1) % count == 0 ? null : length));
        if (architecture.BlocksPerFullAttention is not { } usual)
        {
            return new GgufWindows(length, 0, IsComputed: false);
        }

        // A model of few blocks may leave open how it would continue.
        int firstFull = Array.IndexOf(windows, null);
        int own = firstFull < 0 ? windows.Length + 1 : firstFull + 1;
        int every = Repeats(usual) || !architecture.ReadsBlocksPerFullAttention ? usual : own;
        return new GgufWindows(length, every, Repeats(every));
    }
}
