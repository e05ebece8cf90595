using System.Runtime.CompilerServices;
using LLama.Native;

namespace DispLlm.Tests;

/// <summary>Keeps llama.cpp's log out of the tests' output. It can only be set before the first use.</summary>
internal static class QuietLlama
{
    [ModuleInitializer]
    internal static void Silence() => NativeLibraryConfig.All.WithLogCallback((_, _) => { });
}
