namespace DispLlm;

/// <summary>Something cannot be evaluated as asked: a broken item, a file of results that is another evaluation's, models that do not compare.</summary>
public sealed class EvaluationException : DispLlmException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong, where, and what to do about it.</param>
    /// <param name="innerException">What caused it, if anything.</param>
    public EvaluationException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
