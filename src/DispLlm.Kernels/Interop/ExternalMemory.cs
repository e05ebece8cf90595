using System.Reflection;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// A tensor over memory that libtorch did not allocate, such as a mapped file. Upstream gap (TorchSharp 0.107): there is no public
/// <c>torch.from_blob</c>, only an internal declaration, <c>NativeMethods.THSTensor_new</c>. It is called by reflection, and only with the
/// parameters known here; after a change upstream callers copy instead. When TorchSharp has <c>from_blob</c> for a pointer with a deleter,
/// call it and delete this file.
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
    /// <param name="released">Called once, on any thread, when no tensor, view or autograd graph refers to the memory any more.</param>
    /// <returns>The tensor, in the caller's dispose scope; null if this TorchSharp cannot make it, and then <paramref name="released"/> is
    /// not called.</returns>
    public static Tensor? TryWrap(nint address, IReadOnlyList<long> shape, ScalarType type, Action released)
    {
        if (WrapMethod is null)
        {
            return null;
        }

        InitializeDeviceType(DeviceType.CPU);
        var memory = new ExternalMemory(released);
        var deleter = Delegate.CreateDelegate(WrapMethod.GetParameters()[1].ParameterType, memory, nameof(Release));

        // libtorch has a bare function pointer; this keeps its delegate alive.
        memory._deleter = GCHandle.Alloc(deleter);
        long[] sizes = [.. shape];
        var pinned = GCHandle.Alloc(sizes, GCHandleType.Pinned);
        try
        {
            var handle = (nint)WrapMethod.Invoke(
                null, [address, deleter, pinned.AddrOfPinnedObject(), sizes.Length, (sbyte)type, (sbyte)type, (int)DeviceType.CPU, -1,
                    false])!;
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
