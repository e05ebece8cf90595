namespace DispLlm;

/// <summary>
/// A selection is invalid: indices out of order or range, scores that are not finite, a plan made for another model, a damaged plan file.
/// </summary>
public sealed class SelectionException : DispLlmException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong, where (block, site, file, key), and what to do about it.</param>
    /// <param name="innerException">What caused it, if anything.</param>
    public SelectionException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}

/// <summary>A budget is out of range, or no selection of the model can meet it.</summary>
public sealed class BudgetException : DispLlmException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong with which value, and what can be asked for instead.</param>
    /// <param name="innerException">What caused it, if anything.</param>
    public BudgetException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>The smallest parameter count that can be reached, in the budget's scope; null where another thing is wrong.</summary>
    public long? SmallestReachable { get; init; }
}
