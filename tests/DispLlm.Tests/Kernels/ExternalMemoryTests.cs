using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

public sealed class ExternalMemoryTests
{
    /// <summary>If a new TorchSharp declares its native call otherwise, loading still works, but copies: this says so.</summary>
    [Fact]
    public void Memory_is_wrapped_seen_and_given_back_once_when_its_last_tensor_goes()
    {
        nint memory = Marshal.AllocHGlobal(6 * sizeof(float));
        int released = 0;
        try
        {
            Marshal.Copy(new float[] { 0, 1, 2, 3, 4, 5 }, 0, memory, 6);
            var tensor = ExternalMemory.TryWrap(memory, [2, 3], ScalarType.Float32, () => Interlocked.Increment(ref released));
            Assert.NotNull(tensor);
            Assert.Equal([2L, 3L], tensor.shape);
            Marshal.Copy(new float[] { 40 }, 0, memory + (4 * sizeof(float)), 1);
            Assert.Equal([0, 1, 2, 3, 40, 5], tensor.data<float>().ToArray());
            var view = tensor.t();
            tensor.Dispose();
            GC.Collect();
            Assert.Equal(0, released);
            using (var scope = NewDisposeScope())
            {
                Assert.Equal(40, view[1, 1].item<float>());
            }

            view.Dispose();
            Assert.Equal(1, released);
        }
        finally
        {
            Marshal.FreeHGlobal(memory);
        }
    }
}
