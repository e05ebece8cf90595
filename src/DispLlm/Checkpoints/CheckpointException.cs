using System.Text;

namespace DispLlm;

/// <summary>A checkpoint's file is missing, damaged or contradictory.</summary>
public class CheckpointException : DispLlmException
{
    /// <summary>Creates the error. Its message begins with the file and the key.</summary>
    /// <param name="file">Path of the file that is wrong.</param>
    /// <param name="key">The tensor or key within the file that is wrong; null if it is the file as a whole.</param>
    /// <param name="message">What is wrong, with the offending value, and what to do about it.</param>
    /// <param name="innerException">What caused it, if anything.</param>
    public CheckpointException(string file, string? key, string message, Exception? innerException = null)
        : base(Compose(file, key, message), innerException)
    {
        File = file;
        Key = key;
    }

    /// <summary>Path of the file that is wrong.</summary>
    public string File { get; }

    /// <summary>The tensor or key within the file that is wrong; null if it is the file as a whole.</summary>
    public string? Key { get; }

    /// <summary>An error that says, too, that the file is damaged.</summary>
    internal static CheckpointException Damaged(string file, string? key, string message, Exception? innerException = null) =>
        new(file, key, message + " The file is damaged: fetch it again.", innerException);

    internal static string Compose(string file, string? key, string message) =>
        key is null ? $"{file}: {message}" : $"{file}: {Quote(key)}: {message}";

    /// <summary>Text from a file that may be hostile, made safe for a log: one line, at most 200 characters.</summary>
    internal static string Quote(string text)
    {
        const int Longest = 200;
        var quoted = new StringBuilder("'");
        foreach (char c in text.AsSpan(0, Math.Min(text.Length, Longest)))
        {
            quoted.Append(char.IsControl(c) || char.IsSurrogate(c) ? '?' : c);
        }

        return quoted.Append(text.Length > Longest ? "...'" : "'").ToString();
    }
}
