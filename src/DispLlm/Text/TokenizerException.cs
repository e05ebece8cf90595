namespace DispLlm;

/// <summary>
/// A tokenizer that cannot be read, or that asks for something that is not supported. A tokenizer that is read almost right gives almost
/// the right ids, which nobody notices: so whatever is unknown is an error, with the file, the key and the value in the message.
/// </summary>
public sealed class TokenizerException : DispLlmException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong, where, and what to do about it.</param>
    /// <param name="innerException">What caused it, if anything.</param>
    public TokenizerException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
