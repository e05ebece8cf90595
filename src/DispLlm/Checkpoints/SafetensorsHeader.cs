using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using static TorchSharp.torch;

namespace DispLlm.Checkpoints;

/// <summary>
/// The JSON at the start of a safetensors file. Here untrusted bytes decide about memory, so everything is checked: a header that is
/// accepted describes every byte of the file exactly once.
/// </summary>
internal sealed record SafetensorsHeader(IReadOnlyList<TensorInfo> Tensors, IReadOnlyDictionary<string, string> Metadata)
{
    /// <summary>Longest header that the format allows, in bytes.</summary>
    public const int LongestHeader = 100_000_000;

    /// <summary>The key that holds the file's metadata instead of a tensor.</summary>
    public const string MetadataKey = "__metadata__";

    /// <summary>Reads and checks a header.</summary>
    /// <param name="json">The header's bytes, without the length before them.</param>
    /// <param name="dataLength">Bytes of the file after the header.</param>
    /// <param name="file">Path of the file, for errors.</param>
    /// <exception cref="CheckpointException">The header breaks the format, or does not describe the file.</exception>
    public static SafetensorsHeader Parse(ReadOnlySpan<byte> json, long dataLength, string file)
    {
        if (json.IsEmpty || json[0] != (byte)'{')
        {
            throw new CheckpointException(
                file, null, "the header does not begin with '{'. This is not a safetensors file, or it is damaged.");
        }

        if (!Utf8.IsValid(json))
        {
            throw CheckpointException.Damaged(file, null, "the header is not valid UTF-8.");
        }

        var tensors = new List<TensorInfo>();
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        string? key = null;
        try
        {
            var names = new HashSet<string>(StringComparer.Ordinal);
            var reader = new Utf8JsonReader(json);
            reader.Read();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                key = reader.GetString()!;
                if (!names.Add(key))
                {
                    throw new CheckpointException(
                        file, key, "the header names it twice; which one counts is undefined. Write the file again.");
                }

                reader.Read();
                if (key == MetadataKey)
                {
                    ReadMetadata(ref reader, metadata, file);
                }
                else
                {
                    tensors.Add(ReadEntry(ref reader, key, file, out long end));
                    CheckSize(tensors[^1], end, file);
                }
            }

            key = null;
            reader.Read(); // anything but spaces after the closing brace throws here
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is the reader's word for a string that is no text, such as half a surrogate pair.
            throw CheckpointException.Damaged(file, key, $"the header is not valid JSON ({e.Message})", e);
        }

        // Tensors without elements share their offset with the next tensor. They come first.
        tensors.Sort((a, b) => (a.Offset, a.ByteCount).CompareTo((b.Offset, b.ByteCount)));
        CheckCoverage(tensors, dataLength, file);
        return new SafetensorsHeader(tensors, metadata);
    }

    private static TensorInfo ReadEntry(ref Utf8JsonReader reader, string name, string file, out long end)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new CheckpointException(file, name, $"the header describes it by {Describe(ref reader)} instead of an object.");
        }

        ScalarType? type = null;
        List<long>? shape = null;
        List<long>? range = null;
        var fields = new HashSet<string>(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string field = reader.GetString()!;
            if (!fields.Add(field))
            {
                throw new CheckpointException(file, name, $"the header gives its {CheckpointException.Quote(field)} twice.");
            }

            reader.Read();
            switch (field)
            {
                case "dtype":
                    string text = reader.TokenType == JsonTokenType.String ? reader.GetString()! : Describe(ref reader);
                    type = SafetensorsType.Parse(text) ?? throw new CheckpointException(
                        file, name, $"its dtype {CheckpointException.Quote(text)} is not supported. Supported "
                            + $"are {SafetensorsType.Known}; convert the file to one of them.");
                    break;
                case "shape":
                    shape = ReadNumbers(ref reader, name, field, file);
                    break;
                case "data_offsets":
                    range = ReadNumbers(ref reader, name, field, file);
                    break;
                default:
                    // A field that nobody reads may change what the bytes mean (a scale, an encoding): refuse rather than guess.
                    throw new CheckpointException(
                        file, name,
                        $"the header gives it an unknown field {CheckpointException.Quote(field)}; known are dtype, shape, data_offsets.");
            }
        }

        if (type is null || shape is null || range is null)
        {
            string missing = type is null ? "dtype" : shape is null ? "shape" : "data_offsets";
            throw new CheckpointException(file, name, $"the header does not give its {missing}.");
        }

        if (range.Count != 2 || range[1] < range[0])
        {
            throw new CheckpointException(file, name, $"its data_offsets [{string.Join(", ", range.Take(4))}] are not a begin and an end.");
        }

        end = range[1];
        return new TensorInfo(name, type.Value, shape.AsReadOnly()) { Offset = range[0] };
    }

    private static List<long> ReadNumbers(ref Utf8JsonReader reader, string name, string field, string file)
    {
        var numbers = new List<long>();
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw new CheckpointException(file, name, $"its {field} is {Describe(ref reader)} instead of a list.");
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long number) || number < 0)
            {
                throw new CheckpointException(
                    file, name, $"its {field} holds {Describe(ref reader)}, which is not a whole number from 0 to 2^63 - 1.");
            }

            numbers.Add(number);
        }

        return numbers;
    }

    private static void ReadMetadata(ref Utf8JsonReader reader, Dictionary<string, string> metadata, string file)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new CheckpointException(file, MetadataKey, $"is {Describe(ref reader)} instead of an object of strings.");
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
            {
                throw new CheckpointException(
                    file, MetadataKey, $"its {CheckpointException.Quote(name)} is {Describe(ref reader)} instead of a string.");
            }

            if (!metadata.TryAdd(name, reader.GetString()!))
            {
                throw new CheckpointException(file, MetadataKey, $"gives {CheckpointException.Quote(name)} twice.");
            }
        }
    }

    private static void CheckSize(TensorInfo tensor, long end, string file)
    {
        long size;
        try
        {
            size = tensor.ByteCount;
        }
        catch (OverflowException e)
        {
            throw new CheckpointException(
                file, tensor.Name, $"its shape [{string.Join(", ", tensor.Shape.Take(16))}] has more bytes than 64 bits can count.", e);
        }

        if (size != end - tensor.Offset)
        {
            throw new CheckpointException(
                file, tensor.Name, $"its shape and dtype {tensor} take {size} bytes, but its data_offsets [{tensor.Offset}, {end}] "
                    + $"hold {end - tensor.Offset}.");
        }
    }

    /// <summary>The tensors, sorted by offset, must cover the data from its first byte to its last, without holes or overlaps.</summary>
    private static void CheckCoverage(List<TensorInfo> tensors, long dataLength, string file)
    {
        long covered = 0;
        string before = "the start of the data";
        foreach (var tensor in tensors)
        {
            if (tensor.Offset != covered)
            {
                string fault = tensor.Offset > covered ? "leaves a hole after" : "overlaps";
                throw CheckpointException.Damaged(
                    file, tensor.Name, $"it begins at byte {tensor.Offset} and {fault} {before}, which ends at byte {covered}.");
            }

            // No overflow: the offset and the end were both read as 64-bit numbers.
            covered += tensor.ByteCount;
            if (covered > dataLength)
            {
                throw new CheckpointException(
                    file, tensor.Name, $"it ends at byte {covered} of the data, but the file holds {dataLength}. The file is cut short: "
                        + "fetch it again.");
            }

            before = CheckpointException.Quote(tensor.Name);
        }

        if (covered != dataLength)
        {
            throw CheckpointException.Damaged(
                file, null, $"{dataLength - covered} bytes follow {before}, and no tensor of the header owns them.");
        }
    }

    private static string Describe(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.StartObject => "an object",
        JsonTokenType.StartArray => "a list",
        JsonTokenType.String => CheckpointException.Quote(reader.GetString()!),
        _ => CheckpointException.Quote(Encoding.UTF8.GetString(reader.ValueSpan)),
    };
}
