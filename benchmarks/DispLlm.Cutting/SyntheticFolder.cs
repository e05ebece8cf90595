using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Cutting;

/// <summary>
/// A checkpoint folder of LLaMA-2 7B's shape in bfloat16, with any number of blocks, in shards with an index. Its weights are small random
/// numbers. It is deleted when this is disposed.
/// </summary>
internal sealed class SyntheticFolder : IDisposable
{
    private const int NoiseNumbers = 1 << 24;

    public SyntheticFolder(string path, int blocks, double shardBytes)
    {
        FullPath = path;
        Directory.CreateDirectory(path);
        string json = JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["model_type"] = "llama",
            ["hidden_act"] = "silu",
            ["hidden_size"] = 4096,
            ["intermediate_size"] = 11008,
            ["num_hidden_layers"] = blocks,
            ["num_attention_heads"] = 32,
            ["num_key_value_heads"] = 32,
            ["vocab_size"] = 32000,
            ["max_position_embeddings"] = 4096,
            ["rms_norm_eps"] = 1e-5,
            ["tie_word_embeddings"] = false,
            ["torch_dtype"] = "bfloat16",
        });
        File.WriteAllText(Path.Combine(path, "config.json"), json);
        using var model = PrunableModel.FromConfig(ModelConfig.Parse(json, path));
        Write(
            [
                .. ParameterCatalog.CheckpointTensors(model.Spec, model.Family).Select(
                    slot => new TensorInfo(slot.Name, ScalarType.BFloat16, slot.Shape)),
            ],
            shardBytes);
        Disk.Flush(path);
        Disk.Drop(path);
    }

    public string FullPath { get; }

    /// <summary>Bytes that such a folder takes.</summary>
    public static double Bytes(int blocks) => 2 * ((2 * 32000 * 4096.0) + (blocks * ((4 * 4096.0 * 4096) + (3 * 4096.0 * 11008))));

    public void Dispose() => Directory.Delete(FullPath, recursive: true);

    private void Write(TensorInfo[] tensors, double shardBytes)
    {
        using var random = new RandomSource(0).Stream("synthetic weights");
        using var scope = NewDisposeScope();
        var noise = (random.Normal(NoiseNumbers) * 0.02).to(ScalarType.BFloat16).bytes;
        var shards = new List<List<TensorInfo>> { new() };
        double filled = 0;
        foreach (var tensor in tensors)
        {
            filled += tensor.ByteCount;
            if (filled > shardBytes && shards[^1].Count > 0)
            {
                shards.Add([]);
                filled = tensor.ByteCount;
            }

            shards[^1].Add(tensor);
        }

        var map = new Dictionary<string, string>();
        for (int i = 0; i < shards.Count; i++)
        {
            string file = $"model-{i + 1:D5}-of-{shards.Count:D5}.safetensors";
            using var writer = SafetensorsWriter.Create(Path.Combine(FullPath, file), shards[i]);
            foreach (var tensor in shards[i])
            {
                map.Add(tensor.Name, file);
                for (long done = 0; done < tensor.ByteCount; done += noise.Length)
                {
                    writer.Write(tensor.Name, noise[..(int)Math.Min(noise.Length, tensor.ByteCount - done)]);
                }
            }

            writer.Complete();
        }

        var index = new { metadata = new { total_size = tensors.Sum(tensor => tensor.ByteCount) }, weight_map = map };
        File.WriteAllText(Path.Combine(FullPath, "model.safetensors.index.json"), JsonSerializer.Serialize(index));
    }
}
