namespace DispLlm;

/// <summary>The requested device is not available; the message says why and what to do.</summary>
public class BackendException : DispLlmException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong, where, and what to do about it.</param>
    /// <param name="innerException">What caused it, if anything.</param>
    public BackendException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
