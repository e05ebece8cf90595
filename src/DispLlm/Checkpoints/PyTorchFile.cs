using System.Text;
using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>
/// A PyTorch checkpoint (<c>pytorch_model.bin</c>), open for reading: a zip archive with a pickled state dict and one entry of bytes per
/// storage. The pickle is read for its tensors; code is never run, and a file that asks for it is refused. Tensors that share a storage,
/// such as a tied head, are two names of the same bytes. Safe from several threads, as <see cref="WeightsFile"/> is.
/// </summary>
public sealed class PyTorchFile : WeightsFile
{
    private const int NewestVersion = 10;

    private PyTorchFile(string path, FileStream stream, IReadOnlyList<TensorInfo> tensors)
        : base(path, stream, tensors, dataOffset: 0)
    {
    }

    /// <summary>
    /// Opens a file, reads which tensors it holds, and checks that each is within its storage and each storage within the file.
    /// </summary>
    /// <param name="path">Path of the file.</param>
    /// <exception cref="CheckpointException">
    /// There is no such file; it is damaged; it is of PyTorch's format before 1.6; it was written on a big-endian machine; it holds
    /// anything but tensors; a tensor is not contiguous.
    /// </exception>
    public static PyTorchFile Open(string path) => Open(path, (stream, full) =>
    {
        CheckIsZip(stream, full);
        var zip = StoredZip.Read(stream, full);
        string root = FindRoot(zip, full);
        CheckWrittenAlike(zip, root, full);
        string pickle = $"{root}/data.pkl";
        if (zip.Find(pickle) is not { } range)
        {
            throw new CheckpointException(full, pickle, "the archive has no such entry, so it is no PyTorch checkpoint.");
        }

        var state = StateDictPickle.Read(zip.ReadAll(pickle, range, StateDictPickle.Longest), full, pickle);
        return new PyTorchFile(full, stream, Place(state, zip, root, full));
    });

    private static void CheckIsZip(FileStream stream, string file)
    {
        Span<byte> start = stackalloc byte[512];
        start = start[..stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)];
        if (start.StartsWith("PK\x03\x04"u8))
        {
            return;
        }

        const string Rewrite = "Write it anew in Python with PyTorch 1.6 or later: torch.save(torch.load(file, weights_only=True), file).";
        throw new CheckpointException(file, null, start switch
        {
            [] => "the file is empty. Fetch it again.",
            [0x80, ..] =>
                $"this is PyTorch's format before version 1.6, a bare pickle instead of a zip archive, which is not read. {Rewrite}",
            _ when start.Length > 262 && start[257..].StartsWith("ustar"u8) =>
                $"this is PyTorch's format before version 0.1, a tar archive, which is not read. {Rewrite}",
            _ when GitLfsPointer.IsPointer(start) => GitLfsPointer.Remedy("weights"),
            _ => "the file does not begin as a zip archive does, so it is no PyTorch checkpoint, or it is damaged.",
        });
    }

    /// <summary>The folder in which PyTorch puts all entries; it is named after the file as it was first saved.</summary>
    private static string FindRoot(StoredZip zip, string file)
    {
        string first = zip.Names.FirstOrDefault() ?? throw new CheckpointException(
            file, null, "the archive is empty, so it is no PyTorch checkpoint.");
        string root = first.Split('/')[0];
        string? stray = zip.Names.FirstOrDefault(name => !name.StartsWith($"{root}/", StringComparison.Ordinal));
        return stray is null
            ? root
            : throw new CheckpointException(
                file, stray,
                $"this entry of the archive is not in one folder with {CheckpointException.Quote(first)}, so this is no PyTorch "
                    + "checkpoint.");
    }

    /// <summary>
    /// Refuses bytes in another order and a later format. Both entries came with time: older files lack them, and are little-endian.
    /// </summary>
    private static void CheckWrittenAlike(StoredZip zip, string root, string file)
    {
        if (ReadText(zip, $"{root}/byteorder") is { } order and not "little")
        {
            throw new CheckpointException(
                file, $"{root}/byteorder",
                $"the file's bytes are in {CheckpointException.Quote(order)} order; only little is read. Save it on a little-endian "
                    + "machine.");
        }

        if (ReadText(zip, $"{root}/version") is { } text && !(int.TryParse(text, out int version) && version is > 0 and <= NewestVersion))
        {
            throw new CheckpointException(
                file, $"{root}/version", $"the archive is of version {CheckpointException.Quote(text)}; known are 1 to {NewestVersion}.");
        }
    }

    private static string? ReadText(StoredZip zip, string name) =>
        zip.Find(name) is { } range ? Encoding.Latin1.GetString(zip.ReadAll(name, range, 64)).Trim() : null;

    private static IReadOnlyList<TensorInfo> Place(object? state, StoredZip zip, string root, string file)
    {
        if (state is not PickledDictionary dictionary)
        {
            throw new CheckpointException(
                file, $"{root}/data.pkl",
                "the file does not hold a dictionary of tensors. Save a model's state dict: torch.save(model.state_dict(), file).");
        }

        var names = new HashSet<string>(StringComparer.Ordinal);
        var tensors = new List<TensorInfo>();
        foreach (var (key, value) in dictionary.Items)
        {
            string name = key as string
                ?? throw new CheckpointException(
                    file, FormattableString.Invariant($"{key}"), "the dictionary has a key that is no text, so it is no state dict.");
            if (!names.Add(name))
            {
                throw new CheckpointException(
                    file, name, "the dictionary has it twice; which one counts is undefined. Write the file again.");
            }

            tensors.Add(value switch
            {
                PickledTensor tensor => Place(name, tensor, zip, root, file),
                PickledDictionary => throw new CheckpointException(
                    file, name, "it is a dictionary, as in a checkpoint of training, instead of a tensor. Save the model's state dict "
                        + "alone: torch.save(checkpoint[key], file)."),
                _ => throw new CheckpointException(file, name, "it is no tensor. Save the model's state dict without it."),
            });
        }

        return [.. tensors.OrderBy(tensor => tensor.Offset)];
    }

    private static TensorInfo Place(string name, PickledTensor tensor, StoredZip zip, string root, string file)
    {
        var storage = tensor.Storage;
        if (zip.Find($"{root}/data/{storage.Key}") is not { } range)
        {
            throw CheckpointException.Damaged(file, name, $"its storage {CheckpointException.Quote(storage.Key)} is not in the archive.");
        }

        long elementSize = SafetensorsType.ByteSize(storage.Type);
        if (storage.Elements != range.Length / elementSize || range.Length % elementSize != 0)
        {
            throw CheckpointException.Damaged(
                file,
                name,
                $"its storage {CheckpointException.Quote(storage.Key)} is said to hold {storage.Elements} numbers "
                    + $"of {SafetensorsType.ToName(storage.Type)}, but has {range.Length} bytes.");
        }

        long elements = CheckShape(name, tensor, file);
        if (tensor.Offset < 0 || tensor.Offset > storage.Elements || elements > storage.Elements - tensor.Offset)
        {
            throw CheckpointException.Damaged(
                file,
                name,
                $"its shape {Join(tensor.Shape)} takes {elements} numbers from number {tensor.Offset} of its storage, which "
                    + $"has {storage.Elements}.");
        }

        return new TensorInfo(name, storage.Type, tensor.Shape.AsReadOnly()) { Offset = range.Offset + (tensor.Offset * elementSize) };
    }

    /// <summary>
    /// Counts a tensor's elements, and refuses a tensor that is not contiguous: its bytes in the file would be another tensor's.
    /// </summary>
    private static long CheckShape(string name, PickledTensor tensor, string file)
    {
        long[] shape = tensor.Shape, strides = tensor.Strides;
        if (shape.Length != strides.Length || shape.Any(size => size < 0))
        {
            throw CheckpointException.Damaged(file, name, $"its shape {Join(shape)} and strides {Join(strides)} describe no tensor.");
        }

        long step = 1;
        bool empty = shape.Contains(0), rows = true;
        for (int i = shape.Length - 1; i >= 0; i--)
        {
            // The stride of a size of 1 is never used, and PyTorch may store any.
            rows &= empty || shape[i] == 1 || strides[i] == step;
            try
            {
                step = checked(step * Math.Max(1, shape[i]));
            }
            catch (OverflowException e)
            {
                throw CheckpointException.Damaged(file, name, $"its shape {Join(shape)} has more numbers than 64 bits can count.", e);
            }
        }

        if (!rows)
        {
            throw new CheckpointException(
                file,
                name,
                $"it is not contiguous: its shape is {Join(shape)}, its strides are {Join(strides)}. Save it contiguous: {{name: "
                    + "tensor.contiguous() for name, tensor in model.state_dict().items()}}.");
        }

        return empty ? 0 : step;
    }

    private static string Join(long[] numbers) => $"[{string.Join(", ", numbers.Take(16))}]";
}
