using System.Runtime.CompilerServices;
using DispLlm;

namespace DispLlm.Tests;

/// <summary>Tests touch TorchSharp directly, some before anything of DispLlm: the native libraries must be there first.</summary>
internal static class NativeTorchInitializer
{
    [ModuleInitializer]
    internal static void Load() => NativeTorch.EnsureLoaded();
}
