using System.IO.MemoryMappedFiles;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// A whole file mapped into memory, as spans or as tensors over it. The memory lives until this is disposed and the last tensor over it is
/// gone. Safe from several threads; no span may be used during or after <see cref="Dispose"/>.
/// </summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedViewAccessor _view;
    private readonly byte* _start;

    /// <summary>Maps a file.</summary>
    /// <param name="stream">The open file; it stays open when the map is disposed.</param>
    /// <param name="access">
    /// <see cref="MemoryMappedFileAccess.Read"/> for spans. <see cref="MemoryMappedFileAccess.CopyOnWrite"/> for tensors: who changes a
    /// weight changes a private copy of its page, and neither crashes nor touches the file.
    /// </param>
    /// <exception cref="IOException">The file cannot be mapped.</exception>
    /// <exception cref="OutOfMemoryException">The system has too little address space or memory to reserve.</exception>
    public MappedFile(FileStream stream, MemoryMappedFileAccess access)
    {
        using var map = MemoryMappedFile.CreateFromFile(stream, null, 0, access, HandleInheritability.None, leaveOpen: true);
        _view = map.CreateViewAccessor(0, 0, access);
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _start);
        _start += _view.PointerOffset;
    }

    /// <summary>Bytes of the file, not copied.</summary>
    /// <param name="offset">The first byte, counted from the start of the file.</param>
    /// <param name="count">Number of bytes; the caller knows that the file has them.</param>
    public ReadOnlySpan<byte> Bytes(long offset, int count) => new(_start + offset, count);

    /// <summary>A tensor over bytes of the file: nothing is read until it is used.</summary>
    /// <param name="offset">The first byte, counted from the start of the file.</param>
    /// <param name="shape">The tensor's sizes, at least one element in all; the caller knows that the file has them.</param>
    /// <param name="type">Type of the elements.</param>
    /// <param name="elementSize">Bytes of one element.</param>
    /// <returns>The tensor, in the caller's dispose scope; null where the bytes are not aligned or TorchSharp cannot wrap memory.</returns>
    public Tensor? TryWrap(long offset, IReadOnlyList<long> shape, ScalarType type, int elementSize)
    {
        var address = (nint)(_start + offset);
        if (address % elementSize != 0)
        {
            return null;
        }

        // The view's handle counts the tensors: the memory is unmapped with the last of them.
        var handle = _view.SafeMemoryMappedViewHandle;
        byte* held = null;
        handle.AcquirePointer(ref held);
        var tensor = ExternalMemory.TryWrap(address, shape, type, handle.ReleasePointer);
        if (tensor is null)
        {
            handle.ReleasePointer();
        }

        return tensor;
    }

    /// <summary>Unmaps the file as soon as no tensor is over it.</summary>
    public void Dispose()
    {
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
    }
}
