using System.Buffers.Binary;
using System.Text;
using System.Text.RegularExpressions;

namespace DispLlm;

/// <summary>What a piece of a SentencePiece vocabulary is for.</summary>
internal enum PieceKind
{
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// <summary>
/// A SentencePiece model file: its pieces with score and kind, and the settings that change ids. What
/// merging needs (<see cref="SentencePieceCodec"/>). Immutable and thread-safe.
/// </summary>
internal sealed class SentencePieceModel
{
    private const int BytePairModel = 2;

    private SentencePieceModel(string path) => FilePath = path;

    public string FilePath { get; }

    public List<(string Text, float Score, PieceKind Kind)> Pieces { get; } = [];

    public bool ByteFallback { get; private set; }

    public bool AddDummyPrefix { get; private set; } = true;

    public int UnknownId { get; private set; }

    public int BeginOfTextId { get; private set; } = 1;

    public int EndOfTextId { get; private set; } = 2;

    /// <summary>Reads a model file and refuses what is not supported.</summary>
    public static SentencePieceModel Read(string path)
    {
        byte[] bytes = JsonFiles.ReadBytes(path);

        // tiktoken's lines: a token in base64, a space, its rank.
        if (Regex.IsMatch(Encoding.Latin1.GetString(bytes.AsSpan(0, Math.Min(bytes.Length, 400))), @"^[A-Za-z0-9+/]+={0,2} \d+\r?\n"))
        {
            throw new TokenizerException(
                $"'{path}' is tiktoken's list of tokens, not a SentencePiece model. Put the model's tokenizer.json beside it.");
        }

        var model = new SentencePieceModel(path);
        bool hasTrainer = false, hasNormalizer = false;
        var fields = new ProtoReader(bytes, path);
        while (fields.Next())
        {
            hasTrainer |= fields.Number == 2;
            hasNormalizer |= fields.Number == 3;
            switch (fields.Number)
            {
                case 1:
                    model.ReadPiece(fields.Message());
                    break;
                case 2:
                    model.ReadTrainer(fields.Message());
                    break;
                case 3:
                    model.ReadNormalizer(fields.Message());
                    break;
            }
        }

        // The pieces come first: a file that is cut off between two of them still looks whole.
        if (model.Pieces.Count == 0 || !hasTrainer || !hasNormalizer)
        {
            string missing = model.Pieces.Count == 0 ? "pieces" : hasTrainer ? "normalizer_spec" : "trainer_spec";
            throw new TokenizerException(
                $"'{path}' holds no {missing}: it is not a SentencePiece model, or the end of it is missing. Fetch it again.");
        }

        if (model.UnknownId < 0 || model.UnknownId >= model.Pieces.Count)
        {
            throw JsonFiles.Unsupported(path, "trainer_spec.unk_id", $"{model.UnknownId}, of {model.Pieces.Count} pieces,");
        }

        return model;
    }

    private void ReadPiece(ProtoReader fields)
    {
        string text = "";
        float score = 0;
        var kind = PieceKind.Normal;
        while (fields.Next())
        {
            switch (fields.Number)
            {
                case 1:
                    text = Encoding.UTF8.GetString(fields.Bytes);
                    break;
                case 2:
                    score = fields.Single;
                    break;
                case 3:
                    kind = (PieceKind)fields.Value;
                    break;
            }
        }

        if (kind is < PieceKind.Normal or > PieceKind.Byte or PieceKind.Unused)
        {
            throw JsonFiles.Unsupported(FilePath, $"pieces[{Pieces.Count}].type", kind.ToString());
        }

        Pieces.Add((text, score, kind));
    }

    private void ReadTrainer(ProtoReader fields)
    {
        long modelType = 1;
        while (fields.Next())
        {
            switch (fields.Number)
            {
                case 3:
                    modelType = fields.Value;
                    break;
                case 24 when fields.Value != 0:
                    throw JsonFiles.Unsupported(FilePath, "trainer_spec.treat_whitespace_as_suffix", "true");
                case 35:
                    ByteFallback = fields.Value != 0;
                    break;
                case 40:
                    UnknownId = (int)fields.Value;
                    break;
                case 41:
                    BeginOfTextId = (int)fields.Value;
                    break;
                case 42:
                    EndOfTextId = (int)fields.Value;
                    break;
            }
        }

        if (modelType != BytePairModel)
        {
            throw JsonFiles.Unsupported(FilePath, "trainer_spec.model_type", modelType == 1 ? "UNIGRAM" : $"{modelType}");
        }
    }

    private void ReadNormalizer(ProtoReader fields)
    {
        // Absent means true.
        bool removesExtraSpaces = true;
        bool escapesSpaces = true;
        while (fields.Next())
        {
            switch (fields.Number)
            {
                case 2 when fields.Bytes.Length > 0:
                    throw JsonFiles.Unsupported(FilePath, "normalizer_spec.precompiled_charsmap", $"{fields.Bytes.Length} bytes");
                case 3:
                    AddDummyPrefix = fields.Value != 0;
                    break;
                case 4:
                    removesExtraSpaces = fields.Value != 0;
                    break;
                case 5:
                    escapesSpaces = fields.Value != 0;
                    break;
            }
        }

        if (removesExtraSpaces)
        {
            throw JsonFiles.Unsupported(FilePath, "normalizer_spec.remove_extra_whitespaces", "true");
        }

        if (!escapesSpaces)
        {
            throw JsonFiles.Unsupported(FilePath, "normalizer_spec.escape_whitespaces", "false");
        }
    }

    /// <summary>Enumerates the fields of one protocol buffers message.</summary>
    private sealed class ProtoReader(ReadOnlyMemory<byte> message, string path)
    {
        private int _at;
        private ReadOnlyMemory<byte> _bytes;

        public int Number { get; private set; }

        public long Value { get; private set; }

        public ReadOnlySpan<byte> Bytes => _bytes.Span;

        public float Single => _bytes.Length == 4
            ? BinaryPrimitives.ReadSingleLittleEndian(Bytes)
            : throw Damaged();

        public ProtoReader Message() => new(_bytes, path);

        public bool Next()
        {
            if (_at == message.Length)
            {
                return false;
            }

            long tag = Varint();
            Number = (int)(tag >> 3);
            (Value, _bytes) = (0, default);
            switch (tag & 7)
            {
                case 0:
                    Value = Varint();
                    break;
                case 1:
                    Take(8);
                    break;
                case 2:
                    Take(Varint());
                    break;
                case 5:
                    Take(4);
                    break;
                default:
                    throw Damaged();
            }

            return true;
        }

        private void Take(long length)
        {
            if (length < 0 || length > message.Length - _at)
            {
                throw Damaged();
            }

            _bytes = message.Slice(_at, (int)length);
            _at += (int)length;
        }

        private long Varint()
        {
            ulong value = 0;
            for (int shift = 0; shift < 70; shift += 7)
            {
                if (_at == message.Length)
                {
                    break;
                }

                byte next = message.Span[_at++];
                value |= (ulong)(next & 127) << shift;
                if (next < 128)
                {
                    return (long)value;
                }
            }

            throw Damaged();
        }

        private TokenizerException Damaged() =>
            new($"'{path}' is not a SentencePiece model, or it is damaged: a field is cut off, or of no kind, near byte {_at}.");
    }
}
