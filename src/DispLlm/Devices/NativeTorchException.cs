namespace DispLlm;

/// <summary>TorchSharp's native libraries are missing or cannot be loaded; the message says which, why and what to do.</summary>
public class NativeTorchException : DispLlmException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong, where, and what to do about it.</param>
    /// <param name="innerException">What caused it, if anything.</param>
    public NativeTorchException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
