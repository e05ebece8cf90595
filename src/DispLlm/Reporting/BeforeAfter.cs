namespace DispLlm.Reporting;

/// <summary>One thing measured on the dense model and on the pruned one, in the same way.</summary>
/// <param name="Before">Of the dense model.</param>
/// <param name="After">Of the pruned model.</param>
/// <typeparam name="T">What was measured.</typeparam>
public sealed record BeforeAfter<T>(T Before, T After)
    where T : notnull;
