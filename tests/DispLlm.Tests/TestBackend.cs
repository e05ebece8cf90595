using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>
/// Where the conformance suite computes: on the CPU, or where <c>DISPLLM_TEST_DEVICE=cuda</c> says so on the first GPU. Asked for a GPU
/// that is not there, every test fails rather than
/// none of them meeting it.
/// </summary>
internal static class TestBackend
{
    private const string Variable = "DISPLLM_TEST_DEVICE";

    private static bool OnGpu { get; } = Environment.GetEnvironmentVariable(Variable) switch
    {
        null or "" or "cpu" => false,
        "cuda" => true,
        var other => throw new InvalidOperationException($"{Variable} is cpu or cuda, not '{other}'."),
    };

    /// <summary>The backend, in float32.</summary>
    public static TorchBackend New() => OnGpu ? TorchBackend.Cuda() : TorchBackend.Cpu();

    /// <summary>Skips a test of what only a GPU does.</summary>
    public static void SkipWithoutGpu() => Assert.SkipUnless(cuda.is_available(), "There is no GPU here.");

    /// <summary>A tensor's numbers, wherever they are.</summary>
    public static float[] Numbers(Tensor tensor)
    {
        using Tensor host = tensor.detach().cpu().contiguous();
        return host.data<float>().ToArray();
    }
}
