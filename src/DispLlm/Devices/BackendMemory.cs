namespace DispLlm.Modeling;

/// <summary>A moment's memory of a backend.</summary>
/// <param name="LiveTensors">
/// Native tensors that TorchSharp counts as held by the process. It goes on counting a tensor that became a module's parameter, so the
/// difference between two moments is what to look at.
/// </param>
/// <param name="ProcessBytes">Resident memory of the process, in bytes.</param>
/// <param name="PeakProcessBytes">Highest resident memory of the process so far, in bytes.</param>
public readonly record struct BackendMemory(long LiveTensors, long ProcessBytes, long PeakProcessBytes)
{
    /// <summary>
    /// Memory that is free for tensors, in bytes, of all devices together; null where the backend cannot say. On a GPU it is what the driver has left: what the framework has taken from it
    /// and keeps for its next tensors is not in it.
    /// </summary>
    public long? AvailableBytes { get; init; }
}
