namespace DispLlm;

/// <summary>Loads TorchSharp's native libraries.</summary>
public static class NativeTorch
{
    /// <summary>Loads the native libraries once per process.</summary>
    public static void EnsureLoaded()
    {
    }
}
