using System.Text.Json.Nodes;

namespace DispLlm.Tool.Tests;

/// <summary>A model with an embedding of 1.5 TB in a file that takes no space: nothing is written in it.</summary>
internal static class HugeModel
{
    private const long Vocabulary = 2_000_000_000;

    public static void Write(string model, string folder)
    {
        var config = (JsonObject)JsonNode.Parse(File.ReadAllText(Path.Combine(model, "config.json")))!;
        config["vocab_size"] = Vocabulary;
        config["tie_word_embeddings"] = false;
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());

        using var source = File.OpenRead(Path.Combine(model, "model.safetensors"));
        byte[] length = new byte[8];
        source.ReadExactly(length);
        byte[] header = new byte[BitConverter.ToInt64(length)];
        source.ReadExactly(header);
        var tensors = (JsonObject)JsonNode.Parse(header)!;
        tensors.Remove("__metadata__");
        var embedding = (JsonObject)tensors["model.embed_tokens.weight"]!;
        embedding["shape"]![0] = Vocabulary;
        tensors["lm_head.weight"] = embedding.DeepClone();
        long offset = 0;
        foreach (var (_, tensor) in tensors)
        {
            long element = tensor!["dtype"]!.ToString() == "F32" ? 4 : 2;
            long bytes = ((JsonArray)tensor["shape"]!).Aggregate(element, (size, axis) => size * (long)axis!);
            tensor["data_offsets"] = new JsonArray(offset, offset += bytes);
        }

        header = System.Text.Encoding.UTF8.GetBytes(tensors.ToJsonString());
        using var target = File.Create(Path.Combine(folder, "model.safetensors"));
        target.Write(BitConverter.GetBytes((long)header.Length));
        target.Write(header);
        target.SetLength(target.Position + offset);
    }
}
