using System.Text;
using DispLlm.Export;

namespace DispLlm.Tests;

/// <summary>Writes a GGUF file that holds a vocabulary and no tensors, which llama.cpp opens to tokenize.</summary>
internal static class VocabularyFile
{
    public static void Write(string path, IEnumerable<GgufValue> values)
    {
        GgufValue[] all =
        [
            new("general.architecture", "llama"),
            new("llama.context_length", 64u),
            new("llama.embedding_length", 8u),
            new("llama.block_count", 1u),
            new("llama.feed_forward_length", 8u),
            new("llama.attention.head_count", 1u),
            new("llama.attention.layer_norm_rms_epsilon", 1e-5f),
            .. values,
        ];
        using var writer = new BinaryWriter(File.Create(path), Encoding.UTF8);
        writer.Write("GGUF"u8);
        writer.Write(3u);
        writer.Write(0UL);
        writer.Write((ulong)all.Length);
        foreach (var (key, value) in all)
        {
            WriteText(writer, key);
            if (value is Array list)
            {
                writer.Write(9u);
                writer.Write(Type(list.GetType().GetElementType()!));
                writer.Write((ulong)list.Length);
                foreach (object item in list)
                {
                    WriteValue(writer, item);
                }
            }
            else
            {
                writer.Write(Type(value.GetType()));
                WriteValue(writer, value);
            }
        }
    }

    private static uint Type(Type type) => type switch
    {
        _ when type == typeof(uint) => 4,
        _ when type == typeof(int) => 5,
        _ when type == typeof(float) => 6,
        _ when type == typeof(bool) => 7,
        _ when type == typeof(string) => 8,
        _ => throw new ArgumentException($"{type} is no type of a value."),
    };

    private static void WriteValue(BinaryWriter writer, object value)
    {
        switch (value)
        {
            case uint number:
                writer.Write(number);
                break;
            case int number:
                writer.Write(number);
                break;
            case float number:
                writer.Write(number);
                break;
            case bool flag:
                writer.Write(flag);
                break;
            default:
                WriteText(writer, (string)value);
                break;
        }
    }

    private static void WriteText(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }
}
