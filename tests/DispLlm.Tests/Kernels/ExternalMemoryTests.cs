using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

public sealed class ExternalMemoryTests
{
    /// <summary>With another declaration in a new TorchSharp loading still works, but copies; this test fails then.</summary>
    [Fact]
    public void Memory_is_shared_and_released_once_with_its_last_tensor()
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
