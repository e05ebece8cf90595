using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace DispLlm.Evaluation;

/// <summary>
/// The scores of an evaluation in JSON Lines: a header that identifies the evaluation, then a line per item, and the accuracies after the
/// last. Scores are appended after each forward pass. A torn line is dropped when the evaluation resumes, and its forward pass is repeated.
/// </summary>
internal sealed class ZeroShotResultsFile : IDisposable
{
    private const string Format = "displlm-zero-shot-1";

    private static readonly JsonSerializerOptions s_options =
        new(JsonSerializerOptions.Strict)
        {
            PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,

            // The standard error of a single item is NaN.
            NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        };

    private readonly string _path;
    private readonly IReadOnlyList<ZeroShotItem> _items;
    private readonly FileStream _stream;

    private ZeroShotResultsFile(string path, IReadOnlyList<ZeroShotItem> items, FileStream stream)
    {
        _path = path;
        _items = items;
        _stream = stream;
    }

    /// <summary>Everything that determines the scores: model, task, and the token ids of the items.</summary>
    public static IReadOnlyDictionary<string, string> DescribeIdentity(
        IPrunableModel model, ZeroShotTask task, IReadOnlyList<EncodedContinuation[]> items) =>
        new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["format"] = Format,
            ["task"] = task.Name,
            ["items"] = items.Count.ToString(CultureInfo.InvariantCulture),
            ["text"] = HashItems(items),
            ["model"] = WeightsFingerprint.Compute(model),
            ["compute_type"] = model.Backend.ComputeType.ToString(),
        };

    /// <summary>Opens or creates a file, and reads the scores that it has into <paramref name="scores"/>.</summary>
    /// <exception cref="EvaluationException">The file belongs to another evaluation, or cannot be read or written.</exception>
    public static ZeroShotResultsFile Open(
        string path,
        IReadOnlyDictionary<string, string> identity,
        IReadOnlyList<ZeroShotItem> items,
        IReadOnlyList<ContinuationScore>?[] scores)
    {
        string full = Path.GetFullPath(path);
        FileStream? stream = null;
        try
        {
            if (new FileInfo(full) is not { Exists: true, Length: > 0 })
            {
                Directory.CreateDirectory(Path.GetDirectoryName(full)!);
                AtomicFile.Write(full, JsonSerializer.Serialize(identity) + "\n");
            }

            stream = new FileStream(full, FileMode.Open, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
            var results = new ZeroShotResultsFile(full, items, stream);
            results.Read(identity, scores);
            return results;
        }
        catch (Exception e)
        {
            stream?.Dispose();
            if (e is not (IOException or UnauthorizedAccessException))
            {
                throw;
            }

            throw new EvaluationException(
                $"{full}: the results file cannot be used: {e.Message} Close other evaluations that use it, or use another file.", e);
        }
    }

    /// <summary>Appends the scores of a forward pass.</summary>
    public void Append(IEnumerable<(int Item, IReadOnlyList<ContinuationScore> Scores)> scored)
    {
        var lines = new StringBuilder();
        foreach (var (item, scores) in scored)
        {
            var line = new ItemLine(
                item,
                _items[item].Gold,
                [.. scores.Select(score => score.LogLikelihood)],
                [.. scores.Select(score => score.IsGreedy)],
                [.. scores.Select(score => score.Tokens)]);
            lines.Append(JsonSerializer.Serialize(line, s_options)).Append('\n');
        }

        Append(lines.ToString());
    }

    /// <summary>Appends the accuracies. They are not read again: they follow from the scores before them.</summary>
    public void Complete(ZeroShotScore score) => Append(JsonSerializer.Serialize(score, s_options) + "\n");

    public void Dispose() => _stream.Dispose();

    private void Append(string lines)
    {
        try
        {
            _stream.Write(Encoding.UTF8.GetBytes(lines));
            _stream.Flush(flushToDisk: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new EvaluationException(
                $"{_path}: scores cannot be written: {e.Message} Evaluate again with the same file to resume.", e);
        }
    }

    private void Read(IReadOnlyDictionary<string, string> identity, IReadOnlyList<ContinuationScore>?[] scores)
    {
        byte[] bytes = new byte[_stream.Length];
        _stream.ReadExactly(bytes);
        int end = bytes.AsSpan().IndexOf((byte)'\n') + 1;
        EnsureIdentity(identity, Parse<Dictionary<string, string>>(bytes.AsSpan(0, end)));

        // A line that is not valid was torn, or holds the accuracies. It and what follows it is computed again.
        while (bytes.AsSpan(end).IndexOf((byte)'\n') is var length && length >= 0
            && Parse<ItemLine>(bytes.AsSpan(end, length)) is { } line && line.IsValid(_items))
        {
            scores[line.Item] =
                [.. line.LogLikelihoods.Select((value, i) => new ContinuationScore(value, line.IsGreedy[i], line.Tokens[i]))];
            end += length + 1;
        }

        _stream.SetLength(end);
        _stream.Position = end;
    }

    private void EnsureIdentity(IReadOnlyDictionary<string, string> identity, Dictionary<string, string>? header)
    {
        string? stored = header?.GetValueOrDefault("format");
        if (stored != Format)
        {
            throw new EvaluationException(
                $"{_path}: this is not a file of zero-shot scores: 'format' is '{stored}', not '{Format}'. Use another file.");
        }

        string[] differences =
        [
            .. identity.Where(entry => header!.GetValueOrDefault(entry.Key) != entry.Value)
                .Select(entry => $"{entry.Key} is {entry.Value} here and {header!.GetValueOrDefault(entry.Key) ?? "unknown"} there"),
        ];
        if (differences.Length > 0)
        {
            throw new EvaluationException(
                $"{_path}: the file holds the scores of another evaluation: {string.Join("; ", differences)}. Use another file.");
        }
    }

    private static T? Parse<T>(ReadOnlySpan<byte> line)
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize<T>(line, s_options);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static string HashItems(IReadOnlyList<EncodedContinuation[]> items)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (context, continuation) in items.SelectMany(item => item))
        {
            byte[] bytes = new byte[(context.Length + continuation.Length + 2) * sizeof(int)];
            int at = 0;
            foreach (int value in (int[])[context.Length, .. context, continuation.Length, .. continuation])
            {
                BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(at), value);
                at += sizeof(int);
            }

            hash.AppendData(bytes);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
    }

    /// <summary>The scores of an item as a line of the file.</summary>
    private sealed record ItemLine(int Item, int Gold, double[] LogLikelihoods, bool[] IsGreedy, int[] Tokens)
    {
        public bool IsValid(IReadOnlyList<ZeroShotItem> items)
        {
            int count = Item >= 0 && Item < items.Count ? items[Item].Choices.Count : -1;
            return LogLikelihoods.Length == count && IsGreedy.Length == count && Tokens.Length == count;
        }
    }
}
