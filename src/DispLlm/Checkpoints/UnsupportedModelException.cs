namespace DispLlm;

/// <summary>
/// A checkpoint is well-formed but asks for something that DispLlm does not compute.
/// </summary>
public class UnsupportedModelException : DispLlmException
{
    /// <summary>Creates the error. Its message begins with the file, the key and the value.</summary>
    /// <param name="file">Path of the file that holds the setting.</param>
    /// <param name="key">The setting's key.</param>
    /// <param name="value">The setting's value, as written in the file.</param>
    /// <param name="message">What is supported, and what to do about it.</param>
    public UnsupportedModelException(string file, string key, string value, string message)
        : base(CheckpointException.Compose(file, key, $"{CheckpointException.Quote(value)} is not supported. {message}"))
    {
        File = file;
        Key = key;
        Value = value;
    }

    /// <summary>Path of the file that holds the setting.</summary>
    public string File { get; }

    /// <summary>The setting's key.</summary>
    public string Key { get; }

    /// <summary>The setting's value, as written in the file.</summary>
    public string Value { get; }
}
