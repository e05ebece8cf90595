namespace DispLlm;

/// <summary>A corpus that is missing, empty, unreadable, too short, or does not belong to the model's vocabulary.</summary>
public sealed class CorpusException : DispLlmException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong, where, and what to do about it.</param>
    /// <param name="innerException">What caused it, if anything.</param>
    public CorpusException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
