namespace DispLlm;

/// <summary>A file is no report that can be read.</summary>
public sealed class ReportException : DispLlmException
{
    /// <summary>Creates the error. Its message begins with the file.</summary>
    /// <param name="file">Path of the file that is wrong.</param>
    /// <param name="message">What is wrong, with the key and the offending value.</param>
    /// <param name="innerException">What caused it, if anything.</param>
    public ReportException(string file, string message, Exception? innerException = null)
        : base($"{file}: {message}", innerException) => File = file;

    /// <summary>Path of the file that is wrong.</summary>
    public string File { get; }
}
