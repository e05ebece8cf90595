namespace DispLlm.Tool;

/// <summary>An error of the tool: an output that exists, a prompt that is too long.</summary>
internal sealed class ToolException(string message, Exception? innerException = null) : DispLlmException(message, innerException);
