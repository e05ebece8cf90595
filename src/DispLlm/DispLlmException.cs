namespace DispLlm;

/// <summary>
/// The base of every error that DispLlm raises on purpose: bad input, an unsupported model, a run that went numerically wrong.
/// The message names what is wrong, where, and what to do about it.
/// </summary>
public class DispLlmException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong, where, and what to do about it.</param>
    /// <param name="innerException">What caused it, if anything.</param>
    public DispLlmException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
