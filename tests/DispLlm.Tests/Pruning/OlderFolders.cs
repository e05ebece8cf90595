using System.Text.Json.Nodes;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>
/// Pruned folders as programs wrote them before transformers could read any: index lists were tensors, norms were whole. Format 1 knew
/// neither layouts nor groups.
/// </summary>
internal static class OlderFolders
{
    /// <summary>Makes a folder of an older format of one that was just written.</summary>
    /// <param name="target">The folder.</param>
    /// <param name="denseFolder">What it was pruned from: one file of weights.</param>
    /// <param name="version">The format, 1 or 2.</param>
    /// <param name="plan">The plan of that format.</param>
    /// <param name="damage">Changes index lists; null for none.</param>
    public static void Age(string target, string denseFolder, int version, SelectionPlan plan, Func<Tensor, Tensor>? damage = null)
    {
        EditConfig(target, config =>
        {
            var section = config["displlm"]!.AsObject();
            section["model_type"] = config["model_type"]!.DeepClone();
            var dense = JsonNode.Parse(File.ReadAllText(Path.Combine(denseFolder, "config.json")))!;
            section["architectures"] = dense["architectures"]!.DeepClone();
            config["model_type"] = "displlm_pruned";
            config["architectures"] = new JsonArray("DispLlmPrunedForCausalLM");
            config.Remove("auto_map");
            section["format_version"] = version;
            section.Remove("kept");
            if (version == 1)
            {
                section.Remove("layout");
            }
        });
        File.Delete(Path.Combine(target, "modeling_displlm.py"));
        File.WriteAllText(Path.Combine(target, SelectionPlan.FileName), version == 1 ? OlderPlans.ToFormat1(plan) : plan.ToJson());

        using var scope = NewDisposeScope();
        string weights = Path.Combine(target, "model.safetensors"), all = weights + ".new";
        using (var file = SafetensorsFile.Open(weights))
        using (var dense = SafetensorsFile.Open(Path.Combine(denseFolder, "model.safetensors")))
        {
            bool IsNorm(string name) => name.EndsWith("layernorm.weight", StringComparison.Ordinal);
            var tensors = file.Tensors.ToDictionary(info => info.Name, info => (IsNorm(info.Name) ? dense : file).Read(info.Name));
            for (int block = 0; block < plan.Blocks.Count; block++)
            {
                foreach (var site in SelectionSites.All.Where(site => site.Descriptor().IsOnStream
                    && (version == 1 || plan.Blocks[block][site].Count < plan.Model.HiddenSize)))
                {
                    Tensor index = tensor([.. plan.Blocks[block][site]], ScalarType.Int32);
                    tensors[$"displlm.blocks.{block}.s{(int)site}"] = damage?.Invoke(index) ?? index;
                }
            }

            using var writer = SafetensorsWriter.Create(
                all, tensors.Select(entry => new TensorInfo(entry.Key, entry.Value.dtype, entry.Value.shape)));
            foreach (var (name, tensor) in tensors)
            {
                writer.Write(name, tensor);
            }

            writer.Complete();
        }

        File.Move(all, weights, overwrite: true);
    }

    /// <summary>Edits a folder's <c>config.json</c>.</summary>
    public static void EditConfig(string folder, Action<JsonObject> edit)
    {
        string path = Path.Combine(folder, "config.json");
        var config = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        edit(config);
        File.WriteAllText(path, config.ToJsonString());
    }
}
