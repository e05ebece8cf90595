namespace DispLlm.Export;

/// <summary>What an export wrote. Immutable and safe from several threads.</summary>
/// <param name="Path">Full path of the folder or file.</param>
/// <param name="Bytes">Bytes of all files.</param>
/// <param name="Notes">
/// What a user should know of the result, a sentence each: what is smaller in it and what is not, and what was decided for the program that
/// reads it.
/// </param>
public sealed record ExportResult(string Path, long Bytes, IReadOnlyList<string> Notes);
