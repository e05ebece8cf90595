namespace DispLlm.Modeling;

/// <summary>A snapshot of a backend's memory. Immutable and thread-safe.</summary>
/// <param name="LiveTensors">
/// The number of native tensors that TorchSharp counts in the process. It keeps counting a tensor that became a module's parameter, so
/// compare two snapshots.
/// </param>
/// <param name="ProcessBytes">Resident memory of the process, in bytes.</param>
/// <param name="PeakProcessBytes">Highest resident memory of the process so far, in bytes.</param>
public readonly record struct BackendMemory(long LiveTensors, long ProcessBytes, long PeakProcessBytes)
{
    /// <summary>
    /// The memory available to tensors, in bytes, of all devices together; null where the backend cannot say. On a GPU it is what the
    /// driver reports as free: the cache of libtorch's allocator is not in it.
    /// </summary>
    public long? AvailableBytes { get; init; }
}
