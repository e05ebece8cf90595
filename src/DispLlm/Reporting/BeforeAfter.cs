namespace DispLlm.Reporting;

/// <summary>A value of the dense model and of the pruned model. Immutable and thread-safe.</summary>
/// <param name="Before">The value of the dense model.</param>
/// <param name="After">The value of the pruned model.</param>
/// <typeparam name="T">The type of the value.</typeparam>
public sealed record BeforeAfter<T>(T Before, T After)
    where T : notnull;
