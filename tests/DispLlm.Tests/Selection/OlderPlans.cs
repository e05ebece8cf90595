using System.Text.Json;
using System.Text.Json.Nodes;

namespace DispLlm.Tests;

/// <summary>Plans as programs wrote them that knew neither layouts nor groups: format 1.</summary>
internal static class OlderPlans
{
    /// <summary>
    /// The text of format 1. There, norms of queries and keys are among the other parameters, and nothing says what is the stream's.
    /// </summary>
    public static string ToFormat1(SelectionPlan plan)
    {
        Assert.Equal(PruningLayout.Paper, plan.Layout);
        var root = JsonNode.Parse(plan.ToJson())!.AsObject();
        root["format_version"] = 1;
        root.Remove("layout");
        var model = root["model"]!.AsObject();
        foreach (string key in new[] { "query_key_norm", "query_key_norm_bias", "stream_parameters", "input_norm_parameters" })
        {
            model.Remove(key);
        }

        if (!plan.Model.OutputNorms)
        {
            model.Remove("output_norms");
        }

        model["other_parameters"] = plan.Model.OtherParameters + (plan.Model.NumLayers * NormsOfHeads(plan.Model));
        foreach (var lists in new[] { root["blocks"], root["gains"] }.OfType<JsonArray>().SelectMany(lists => lists))
        {
            lists!.AsObject().Remove("attention_groups");
        }

        return root.ToJsonString(new JsonSerializerOptions { WriteIndented = true });
    }

    private static long NormsOfHeads(ModelShape model)
    {
        long heads = (model.NumAttentionHeads + model.NumKeyValueHeads) * (long)model.HeadDim;
        return model.QueryKeyNorm is QueryKeyNorm.PerHead or QueryKeyNorm.AllHeads ? heads * (model.QueryKeyNormBias ? 2 : 1) : 0;
    }
}
