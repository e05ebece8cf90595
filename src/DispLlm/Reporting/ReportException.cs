namespace DispLlm;

/// <summary>A file is not a valid report.</summary>
public sealed class ReportException : DispLlmException
{
    /// <summary>Creates the error. Its message begins with the file.</summary>
    /// <param name="file">Path of the invalid file.</param>
    /// <param name="message">What is wrong, with the key and the offending value.</param>
    /// <param name="innerException">The cause, if any.</param>
    public ReportException(string file, string message, Exception? innerException = null)
        : base($"{file}: {message}", innerException) => File = file;

    /// <summary>Path of the invalid file.</summary>
    public string File { get; }
}
