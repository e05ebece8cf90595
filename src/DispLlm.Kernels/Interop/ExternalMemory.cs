using System.Reflection;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// A tensor over memory that libtorch did not allocate, such as a mapped file. TorchSharp wraps pinned arrays in this way, but keeps the native
/// call to itself. It is called through TorchSharp's own declaration, and only where that has the very parameters that are known here: a
/// later TorchSharp that changed them is not called wrongly, and whoever asks makes a copy instead.
/// </summary>
internal sealed class ExternalMemory
{
    private static readonly MethodInfo? WrapMethod = Find();

    private readonly Action _released;
    private GCHandle _deleter;

    private ExternalMemory(Action released) => _released = released;

    /// <summary>Wraps memory on the CPU.</summary>
    /// <param name="address">The first element, aligned to the size of an element.</param>
    /// <param name="shape">The tensor's sizes, at least one element in all.</param>
    /// <param name="type">Type of the elements.</param>
    /// <param name="released">Called once, on any thread, when nothing refers to the memory any more: no tensor, no view of one, no graph.</param>
    /// <returns>The tensor, in the caller's dispose scope; null if this TorchSharp cannot make it, and then nothing is called.</returns>
    public static Tensor? TryWrap(nint address, IReadOnlyList<long> shape, ScalarType type, Action released)
    {
        if (WrapMethod is null)
        {
            return null;
        }

        InitializeDeviceType(DeviceType.CPU);
        var memory = new ExternalMemory(released);
        var deleter = Delegate.CreateDelegate(WrapMethod.GetParameters()[1].ParameterType, memory, nameof(Release));

        // libtorch holds a bare function pointer; this holds the delegate behind it.
        memory._deleter = GCHandle.Alloc(deleter);
        long[] sizes = [.. shape];
        var pinned = GCHandle.Alloc(sizes, GCHandleType.Pinned);
        try
        {
            var handle = (nint)WrapMethod.Invoke(
                null, [address, deleter, pinned.AddrOfPinnedObject(), sizes.Length, (sbyte)type, (sbyte)type, (int)DeviceType.CPU, -1, false])!;
            if (handle != 0)
            {
                return Tensor.UnsafeCreateTensor(handle);
            }
        }
        finally
        {
            pinned.Free();
        }

        memory._deleter.Free();
        return null;
    }

    private void Release(nint address)
    {
        _deleter.Free();
        _released();
    }

    private static MethodInfo? Find()
    {
        const BindingFlags Static = BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic;
        Type[] others = [typeof(nint), typeof(nint), typeof(int), typeof(sbyte), typeof(sbyte), typeof(int), typeof(int), typeof(bool)];
        return typeof(torch).Assembly.GetType("TorchSharp.PInvoke.NativeMethods")?.GetMethods(Static)
            .SingleOrDefault(method => method.Name == "THSTensor_new"
                && method.ReturnType == typeof(nint)
                && method.GetParameters() is [var data, var deleter, .. var rest]
                && IsDeleter(deleter.ParameterType)
                && others.SequenceEqual([data.ParameterType, .. rest.Select(parameter => parameter.ParameterType)]));
    }

    private static bool IsDeleter(Type type) =>
        type.IsSubclassOf(typeof(Delegate))
        && type.GetMethod("Invoke") is { } invoke
        && invoke.ReturnType == typeof(void)
        && invoke.GetParameters() is [var address]
        && address.ParameterType == typeof(nint);
}
