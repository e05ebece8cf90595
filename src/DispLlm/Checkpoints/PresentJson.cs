using System.Text.Json.Nodes;

namespace DispLlm.Checkpoints;

/// <summary>
/// JSON that is required. A caught null reference would do for a torn line, but on Linux the runtime raises it from a signal: where
/// libtorch computes with AMX, whose state is large, the signal's handler overflows its stack and the process ends.
/// </summary>
internal static class PresentJson
{
    /// <exception cref="FormatException">The node is null.</exception>
    public static JsonNode Present(this JsonNode? node) => node ?? throw new FormatException("A value is missing.");
}
