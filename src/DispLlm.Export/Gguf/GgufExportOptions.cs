namespace DispLlm.Export;

/// <summary>Options of <see cref="GgufExport"/>. Immutable and safe from several threads.</summary>
public sealed record GgufExportOptions
{
    /// <summary>The type of matrices. Default: <see cref="GgufType.F16"/>.</summary>
    public GgufType Type { get; init; } = GgufType.F16;

    /// <summary>The name of the model in the file, which programs show. Default: null, the name of the folder.</summary>
    public string? Name { get; init; }

    /// <summary>The families that the checkpoint may belong to. Default: those that are built in.</summary>
    public ModelFamilies Families { get; init; } = ModelFamilies.BuiltIn;

    internal GgufExportOptions Validated()
    {
        if (!Enum.IsDefined(Type))
        {
            throw new ArgumentOutOfRangeException(nameof(Type), Type, $"{nameof(Type)} is {Type}; it must be a named {nameof(GgufType)}.");
        }

        if (Name is not null && string.IsNullOrWhiteSpace(Name))
        {
            throw new ArgumentException($"{nameof(Name)} is '{Name}'; it must have a letter, or be null.", nameof(Name));
        }

        ArgumentNullException.ThrowIfNull(Families);
        return this;
    }
}
