namespace DispLlm.Tool;

/// <summary>Something the tool refuses by itself: an output that is there already, a prompt that is too long.</summary>
internal sealed class ToolException(string message, Exception? innerException = null) : DispLlmException(message, innerException);
