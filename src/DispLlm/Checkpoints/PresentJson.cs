using System.Text.Json.Nodes;

namespace DispLlm.Checkpoints;

/// <summary>
/// JSON that has to be there. A null reference that is caught would do for a torn line, but on Linux the runtime has it by a signal of the processor: where the framework computes with
/// tiles (AMX), whose state is large, the signal's handler runs out of its stack and the process ends.
/// </summary>
internal static class PresentJson
{
    /// <exception cref="FormatException">The node is null.</exception>
    public static JsonNode Present(this JsonNode? node) => node ?? throw new FormatException("A value is missing.");
}
