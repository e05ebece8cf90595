namespace DispLlm.Export;

/// <summary>A model cannot be written in a format: it, or the program that reads it, lacks something that the model needs.</summary>
public sealed class ExportException : DispLlmException
{
    /// <summary>Creates an exception.</summary>
    /// <param name="format">The format, for instance <c>onnx</c>.</param>
    /// <param name="key">What cannot be written: a key of <c>config.json</c>, a site, a type.</param>
    /// <param name="message">What is wrong, and what to do.</param>
    public ExportException(string format, string key, string message)
        : base(message)
    {
        Format = format;
        Key = key;
    }

    /// <summary>The format.</summary>
    public string Format { get; }

    /// <summary>What cannot be written.</summary>
    public string Key { get; }
}
