namespace DispLlm.Export;

/// <summary>How far an export is. An immutable value.</summary>
/// <param name="Written">Tensors that are written.</param>
/// <param name="Total">Tensors that there are.</param>
/// <param name="Elapsed">Time since the export began.</param>
public readonly record struct ExportProgress(int Written, int Total, TimeSpan Elapsed);
