namespace DispLlm;

/// <summary>An evaluation is not possible: a broken item, a results file of another evaluation, models of different vocabularies.</summary>
public sealed class EvaluationException : DispLlmException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong, where, and what to do about it.</param>
    /// <param name="innerException">The cause, if any.</param>
    public EvaluationException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
