using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace DispLlm.Evaluation;

/// <summary>
/// The scores of an evaluation in JSON Lines: a line that says whose they are, and one for each item. They are written a forward pass at a time; a line that was torn is dropped when the
/// evaluation goes on, and its forward pass computed again.
/// </summary>
internal sealed class ZeroShotResults : IDisposable
{
    private const string Format = "displlm-zero-shot-1";

    private readonly string _path;
    private readonly IReadOnlyList<ZeroShotItem> _items;
    private readonly FileStream _stream;

    private ZeroShotResults(string path, IReadOnlyList<ZeroShotItem> items, FileStream stream)
    {
        _path = path;
        _items = items;
        _stream = stream;
    }

    /// <summary>What scores follow from: model, task, and the ids that text and tokenizer give.</summary>
    public static IReadOnlyDictionary<string, string> DescribeIdentity(IPrunableModel model, ZeroShotTask task, IReadOnlyList<EncodedContinuation[]> items) =>
        new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["format"] = Format,
            ["task"] = task.Name,
            ["items"] = items.Count.ToString(CultureInfo.InvariantCulture),
            ["text"] = HashItems(items),
            ["model"] = WeightsFingerprint.Compute(model),
            ["compute_type"] = model.Backend.ComputeType.ToString(),
        };

    /// <summary>Opens a file, or begins it, and takes what it has into <paramref name="scores"/>.</summary>
    public static ZeroShotResults Open(
        string path, IReadOnlyDictionary<string, string> identity, IReadOnlyList<ZeroShotItem> items, IReadOnlyList<ContinuationScore>?[] scores)
    {
        string full = Path.GetFullPath(path);
        FileStream? stream = null;
        try
        {
            if (new FileInfo(full) is not { Exists: true, Length: > 0 })
            {
                Directory.CreateDirectory(Path.GetDirectoryName(full)!);
                AtomicFile.Write(full, new JsonObject(identity.Select(entry => KeyValuePair.Create(entry.Key, (JsonNode?)entry.Value))).ToJsonString() + "\n");
            }

            stream = new FileStream(full, FileMode.Open, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
            var results = new ZeroShotResults(full, items, stream);
            results.Take(identity, scores);
            return results;
        }
        catch (Exception e)
        {
            stream?.Dispose();
            if (e is not (IOException or UnauthorizedAccessException))
            {
                throw;
            }

            throw new EvaluationException($"{full}: scores cannot be kept here: {e.Message} Is another evaluation using the file? Name one that can be written.", e);
        }
    }

    /// <summary>Adds the scores of a forward pass.</summary>
    public void Append(IEnumerable<(int Item, IReadOnlyList<ContinuationScore> Scores)> scored)
    {
        var lines = new StringBuilder();
        foreach (var (item, scores) in scored)
        {
            var line = new JsonObject
            {
                ["item"] = item,
                ["gold"] = _items[item].Gold,
                ["log_likelihoods"] = new JsonArray([.. scores.Select(score => (JsonNode)score.LogLikelihood)]),
                ["is_greedy"] = new JsonArray([.. scores.Select(score => (JsonNode)score.IsGreedy)]),
                ["tokens"] = new JsonArray([.. scores.Select(score => (JsonNode)score.Tokens)]),
            };
            lines.Append(line.ToJsonString()).Append('\n');
        }

        try
        {
            _stream.Write(Encoding.UTF8.GetBytes(lines.ToString()));
            _stream.Flush(flushToDisk: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new EvaluationException($"{_path}: scores cannot be written: {e.Message} Evaluate again with the same file: it goes on behind what it has.", e);
        }
    }

    public void Dispose() => _stream.Dispose();

    private void Take(IReadOnlyDictionary<string, string> identity, IReadOnlyList<ContinuationScore>?[] scores)
    {
        byte[] bytes = new byte[_stream.Length];
        _stream.ReadExactly(bytes);
        int end = 0;
        bool first = true;
        while (bytes.AsSpan(end).IndexOf((byte)'\n') is var length && length >= 0)
        {
            var line = Parse(bytes.AsSpan(end, length));
            if (first)
            {
                Check(identity, line);
            }
            else if (line is null || !TryTake(line, scores))
            {
                break;
            }

            end += length + 1;
            first = false;
        }

        if (first)
        {
            Check(identity, null);
        }

        _stream.SetLength(end);
        _stream.Position = end;
    }

    private void Check(IReadOnlyDictionary<string, string> identity, JsonObject? line)
    {
        string? Stored(string key) => line?[key] is JsonValue value && value.TryGetValue(out string? text) ? text : null;
        if (Stored("format") != Format)
        {
            throw new EvaluationException($"{_path}: this is no file of zero-shot scores that could be gone on with ('{Stored("format")}', not '{Format}'). Use another file.");
        }

        string[] differences =
        [
            .. identity.Where(entry => Stored(entry.Key) != entry.Value).Select(entry => $"{entry.Key} is {entry.Value} here and {Stored(entry.Key) ?? "unknown"} there"),
        ];
        if (differences.Length > 0)
        {
            throw new EvaluationException($"{_path}: the file holds the scores of another evaluation: {string.Join("; ", differences)}. Evaluate that one, or use another file.");
        }
    }

    private static JsonObject? Parse(ReadOnlySpan<byte> line)
    {
        try
        {
            return JsonNode.Parse(line) as JsonObject;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private bool TryTake(JsonObject line, IReadOnlyList<ContinuationScore>?[] scores)
    {
        try
        {
            int item = line["item"].Present().GetValue<int>();
            double[] logarithms = [.. line["log_likelihoods"].Present().AsArray().Select(value => value.Present().GetValue<double>())];
            bool[] greedy = [.. line["is_greedy"].Present().AsArray().Select(value => value.Present().GetValue<bool>())];
            int[] tokens = [.. line["tokens"].Present().AsArray().Select(value => value.Present().GetValue<int>())];
            int count = _items[item].Choices.Count;
            if (logarithms.Length != count || greedy.Length != count || tokens.Length != count)
            {
                return false;
            }

            scores[item] = [.. logarithms.Select((value, i) => new ContinuationScore(value, greedy[i], tokens[i]))];
            return true;
        }
        catch (Exception e) when (e is InvalidOperationException or FormatException or ArgumentException or IndexOutOfRangeException)
        {
            return false;
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
}
