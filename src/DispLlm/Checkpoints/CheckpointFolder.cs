using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>One weights file of a checkpoint.</summary>
/// <param name="FileName">Its name in the folder.</param>
/// <param name="TensorNames">The tensors that it holds.</param>
public sealed record CheckpointShard(string FileName, IReadOnlyList<string> TensorNames);

/// <summary>
/// A model's folder as it is downloaded: <c>config.json</c>, weights (safetensors or <c>pytorch_model.bin</c>, one file, or shards and
/// their index), and the tokenizer's files. Where both formats are present, safetensors are read. Opening reads the config and the names; a
/// shard is opened when a tensor of it is first read. Reading is safe from several threads; nothing may be read during or after
/// <see cref="Dispose"/>.
/// </summary>
public sealed class CheckpointFolder : IDisposable
{
    internal const string ConfigFile = "config.json";

    private static readonly string[] KnownTokenizerFiles =
    [
        "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
        "special_tokens_map.json", "added_tokens.json", "generation_config.json", "chat_template.jinja",
    ];

    private readonly WeightsFormat _format;
    private readonly Dictionary<string, string> _shardOf;
    private readonly Dictionary<string, WeightsFile> _open;
    private readonly Lock _lock = new();
    private bool _disposed;

    private CheckpointFolder(
        string path, ModelConfig config, WeightsFormat format, IReadOnlyList<CheckpointShard> shards, Dictionary<string, WeightsFile> open)
    {
        FolderPath = path;
        Config = config;
        _format = format;
        Shards = shards;
        _open = open;
        _shardOf = new(StringComparer.Ordinal);
        foreach (var shard in shards)
        {
            foreach (string name in shard.TensorNames)
            {
                _shardOf.Add(name, shard.FileName);
            }
        }
    }

    /// <summary>Full path of the folder.</summary>
    public string FolderPath { get; }

    /// <summary>The folder's <c>config.json</c>.</summary>
    public ModelConfig Config { get; }

    /// <summary>The weights files and the tensors that each holds.</summary>
    public IReadOnlyList<CheckpointShard> Shards { get; }

    /// <summary>
    /// The names of all tensors, as the weights or their index list them. An index may list one that no shard holds: see <see
    /// cref="Contains"/>.
    /// </summary>
    public IReadOnlyCollection<string> TensorNames => _shardOf.Keys;

    /// <summary>Full paths of those files of the tokenizer and of text generation that the folder has.</summary>
    public IEnumerable<string> TokenizerFiles => KnownTokenizerFiles.Select(name => Path.Combine(FolderPath, name)).Where(File.Exists);

    /// <summary>Copies those files into another folder.</summary>
    internal void CopyTokenizer(string folder)
    {
        foreach (string file in TokenizerFiles)
        {
            AtomicFile.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        }
    }

    /// <summary>Opens a folder.</summary>
    /// <param name="path">Path of the folder.</param>
    /// <exception cref="CheckpointException">
    /// The folder, its config or its weights are missing, damaged, or in a format that is not read.
    /// </exception>
    public static CheckpointFolder Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        path = Path.GetFullPath(path);
        if (!Directory.Exists(path))
        {
            throw new CheckpointException(
                path, null, File.Exists(path)
                    ? "this is a file. Give the folder that holds config.json and the weights."
                    : "there is no such folder.");
        }

        var config = ModelConfig.Load(Path.Combine(path, ConfigFile));
        foreach (var format in WeightsFormat.All)
        {
            if (File.Exists(Path.Combine(path, format.SingleFile)))
            {
                var file = format.Open(Path.Combine(path, format.SingleFile));
                return new CheckpointFolder(
                    path,
                    config,
                    format,
                    [new(format.SingleFile, [.. file.Tensors.Select(tensor => tensor.Name)])],
                    new(StringComparer.Ordinal) { [format.SingleFile] = file });
            }

            if (File.Exists(Path.Combine(path, format.IndexFile)))
            {
                return new CheckpointFolder(
                    path, config, format, ShardIndex.Load(Path.Combine(path, format.IndexFile)), new(StringComparer.Ordinal));
            }
        }

        string wanted = string.Join(", ", WeightsFormat.All.SelectMany(format => new[] { format.SingleFile, format.IndexFile }));
        throw new CheckpointException(path, null, $"the folder has no weights: none of {wanted}. Is the download complete?");
    }

    /// <summary>
    /// Whether the checkpoint holds a tensor of that name. An index that lists a tensor does not make it so: many list a tied head that was
    /// not written.
    /// </summary>
    /// <param name="name">The tensor's name.</param>
    /// <exception cref="CheckpointException">Its shard is missing or damaged.</exception>
    public bool Contains(string name) => _shardOf.TryGetValue(name, out string? shard) && OpenShard(shard).Contains(name);

    /// <summary>What the checkpoint says about a tensor.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <exception cref="CheckpointException">There is no such tensor, or its shard is missing or damaged.</exception>
    public TensorInfo Info(string name) => FindFile(name).Info(name);

    /// <summary>
    /// As <see cref="Info"/>, for a tensor that is computed with. An integer is refused: it is a quantized weight, which stands for another
    /// number.
    /// </summary>
    internal TensorInfo WeightInfo(string name)
    {
        var file = FindFile(name);
        var info = file.Info(name);
        return SafetensorsType.IsFloatingPoint(info.Type)
            ? info
            : throw new UnsupportedModelException(
                file.FilePath, name, SafetensorsType.ToName(info.Type),
                "It is the type of a weight: integers stand for quantized weights. Take the float checkpoint that they were made from.");
    }

    /// <summary>Reads a tensor. It owns its memory and stays valid when the folder is closed.</summary>
    /// <param name="name">The tensor's name.</param>
    /// <param name="device">The device of the tensor; the CPU if null. On <c>meta</c> nothing is read.</param>
    /// <param name="type">The type it is converted to; as in the file if null.</param>
    /// <returns>A tensor of the shape that the file gives, in the caller's dispose scope.</returns>
    /// <exception cref="CheckpointException">There is no such tensor, or its shard is missing or damaged.</exception>
    public Tensor Read(string name, Device? device = null, ScalarType? type = null) => FindFile(name).Read(name, device, type);

    /// <summary>As <see cref="Read"/>, for a weight, in which NaN and infinity are refused.</summary>
    internal Tensor ReadWeight(string name, Device? device, ScalarType type) => FindFile(name).ReadWeight(name, device, type);

    /// <summary>
    /// A weight over the mapped shard, without a copy and with its numbers unchecked; null unless device and type are those of the file.
    /// </summary>
    internal Tensor? TryMapWeight(string name, Device? device, ScalarType type) => FindFile(name).TryMap(name, device, type);

    /// <summary>Reads a slice of a tensor's bytes.</summary>
    internal void ReadBytes(string name, long offset, Span<byte> bytes) => FindFile(name).ReadBytes(name, offset, bytes);

    /// <summary>A tensor's bytes in the mapped shard, not copied, valid until <see cref="Dispose"/>.</summary>
    internal ReadOnlySpan<byte> Bytes(string name) => FindFile(name).Bytes(name);

    /// <summary>A slice of a tensor's bytes in the mapped shard, not copied, valid until <see cref="Dispose"/>.</summary>
    internal ReadOnlySpan<byte> Bytes(string name, long offset, int count) => FindFile(name).Bytes(name, offset, count);

    /// <summary>Whether the checkpoint holds a tensor whose type, shape or bytes are not those of another.</summary>
    internal bool HoldsAnother(string name, string other)
    {
        const int Piece = 1 << 24;
        if (!Contains(name) || !Contains(other))
        {
            return Contains(name);
        }

        var (mine, its) = (Info(name), Info(other));
        if (mine.Type != its.Type || !mine.Shape.SequenceEqual(its.Shape))
        {
            return true;
        }

        for (long offset = 0; offset < mine.ByteCount; offset += Piece)
        {
            int count = (int)Math.Min(Piece, mine.ByteCount - offset);
            if (!Bytes(name, offset, count).SequenceEqual(Bytes(other, offset, count)))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Opens every shard now, so that a damaged download is found before hours of work.</summary>
    /// <exception cref="CheckpointException">A shard is missing, damaged, or does not hold what the index says.</exception>
    public void OpenAll()
    {
        foreach (var shard in Shards)
        {
            EnsureHoldsAll(OpenShard(shard.FileName), shard.FileName);
        }
    }

    /// <summary>Closes the weights files. Spans into them are invalid from here on; tensors read from them are not.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            foreach (var file in _open.Values)
            {
                file.Dispose();
            }

            _open.Clear();
        }
    }

    private WeightsFile FindFile(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (!_shardOf.TryGetValue(name, out string? shard))
        {
            throw new CheckpointException(
                FolderPath, name, $"the checkpoint holds no tensor of that name among its {_shardOf.Count}. Do its weights belong to its "
                    + "config.json?");
        }

        var file = OpenShard(shard);
        return file.Contains(name) ? file : throw Absent(file, name);
    }

    private WeightsFile OpenShard(string shard)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (!_open.TryGetValue(shard, out var file))
            {
                file = _format.Open(Path.Combine(FolderPath, shard));
                try
                {
                    CheckAgainstIndex(file, shard);
                }
                catch
                {
                    file.Dispose();
                    throw;
                }

                _open.Add(shard, file);
            }

            return file;
        }
    }

    /// <summary>
    /// Checks that the index lists what a shard holds; otherwise they belong to different models. A tensor that is listed and absent may be
    /// one that nobody asks for, such as a tied head.
    /// </summary>
    private void CheckAgainstIndex(WeightsFile file, string shard)
    {
        foreach (var tensor in file.Tensors)
        {
            if (!_shardOf.TryGetValue(tensor.Name, out string? indexed) || indexed != shard)
            {
                EnsureHoldsAll(file, shard);
                string elsewhere = indexed is null ? "does not list it" : $"says that {indexed} holds it";
                throw new CheckpointException(
                    file.FilePath, tensor.Name,
                    $"this file holds the tensor, but {_format.IndexFile} {elsewhere}. Fetch both files again.");
            }
        }
    }

    private void EnsureHoldsAll(WeightsFile file, string shard)
    {
        var names = Shards.Single(candidate => candidate.FileName == shard).TensorNames;
        if (names.FirstOrDefault(name => !file.Contains(name)) is { } absent)
        {
            throw Absent(file, absent);
        }
    }

    private CheckpointException Absent(WeightsFile file, string name) => new(
        file.FilePath, name, $"{_format.IndexFile} says that this file holds the tensor, but it does not. Fetch both files again.");
}
