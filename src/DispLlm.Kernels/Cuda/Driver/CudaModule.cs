namespace DispLlm.Kernels;

/// <summary>Compiled code that is loaded into the primary context of a GPU, for the life of the process.</summary>
internal sealed class CudaModule : IKernelLauncher
{
    // Programmatic dependent launch, from compute capability 9.0 on.
    private const int EarlyCapability = 90;

    private readonly CudaDriver _driver;
    private readonly nint _context;
    private readonly nint _module;
    private readonly bool _early;

    /// <summary>Loads compiled code.</summary>
    /// <exception cref="CudaException">The driver rejects it.</exception>
    public CudaModule(CudaDriver driver, int device, byte[] code)
    {
        _driver = driver;
        _context = driver.Context(device);
        _module = driver.Load(_context, code);
        _early = driver.Capability(device) >= EarlyCapability;
    }

    /// <inheritdoc/>
    public nint Find(string name) => _driver.Function(_context, _module, name, (int)(CudaProgram.WidestRow * sizeof(float)));

    /// <inheritdoc/>
    public void Launch(nint kernel, (long X, long Y) blocks, (long X, long Y) threads, long sharedBytes, ReadOnlySpan<long> arguments) =>
        _driver.Launch(_context, kernel, blocks, threads, sharedBytes, arguments);

    /// <inheritdoc/>
    public IKernelGraph NewGraph() => new CudaGraph(_driver, _context, _early);
}
