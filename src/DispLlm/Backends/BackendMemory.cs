namespace DispLlm;

/// <summary>A moment's memory of a backend.</summary>
/// <param name="LiveTensors">Native tensors that the process holds at this moment.</param>
/// <param name="ProcessBytes">Resident memory of the process, in bytes.</param>
/// <param name="PeakProcessBytes">Highest resident memory of the process so far, in bytes.</param>
public readonly record struct BackendMemory(long LiveTensors, long ProcessBytes, long PeakProcessBytes);
