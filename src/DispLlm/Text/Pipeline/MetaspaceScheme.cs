namespace DispLlm;

/// <summary>Before which pieces of a text a Metaspace puts its character.</summary>
internal enum MetaspaceScheme
{
    Never,
    First,
    Always,
}

/// <summary>Reads what a pre-tokenizer and a decoder of this kind share.</summary>
internal static class Metaspace
{
    /// <summary>prepend_scheme, or add_prefix_space, which older files have.</summary>
    public static MetaspaceScheme ReadScheme(TokenizerPart part)
    {
        bool addsPrefix = part.Boolean("add_prefix_space", true);
        if (JsonFiles.Optional(part.Value, "prepend_scheme") is null)
        {
            return addsPrefix ? MetaspaceScheme.Always : MetaspaceScheme.Never;
        }

        return part.Text("prepend_scheme") switch
        {
            "never" => MetaspaceScheme.Never,
            "first" when addsPrefix => MetaspaceScheme.First,
            "always" when addsPrefix => MetaspaceScheme.Always,
            _ => throw part.Unsupported("prepend_scheme"),
        };
    }
}
