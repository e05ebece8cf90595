using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace DispLlm.Modeling;

/// <summary>
/// Writes plan files by hand rather than with a serializer: each site's list is one line, so that people can read a file of half a million
/// indices and line tools show which site changed.
/// </summary>
internal static class SelectionPlanWriter
{
    public static string Write(SelectionPlan plan)
    {
        var text = new StringBuilder();
        var model = plan.Model;
        Append(text, $$"""
            {
              "format_version": {{plan.FormatVersion}},
              "family": {{Text(plan.Family)}},
              "layout": "{{StrictJsonFile.ToWord(plan.Layout)}}",
              "norm_order": "{{StrictJsonFile.ToWord(plan.NormOrder)}}",
              "model": {
                "blocks": {{model.NumLayers}},
                "hidden_size": {{model.HiddenSize}},
                "mlp_size": {{model.IntermediateSize}},
                "heads": {{model.NumAttentionHeads}},
                "key_value_heads": {{model.NumKeyValueHeads}},
                "head_size": {{model.HeadDim}},
                "gated_mlp": {{Bool(model.GatedMlp)}},
                "query_key_value_bias": {{Bool(model.QueryKeyValueBias)}},
                "attention_output_bias": {{Bool(model.AttentionOutputBias)}},
                "mlp_bias": {{Bool(model.MlpBias)}},
                "output_norms": {{Bool(model.OutputNorms)}},
                "query_key_norm": "{{StrictJsonFile.ToWord(model.QueryKeyNorm)}}",
                "query_key_norm_bias": {{Bool(model.QueryKeyNormBias)}},
                "stream_parameters": {{model.StreamParameters}},
                "input_norm_parameters": {{model.InputNormParameters}},
                "other_parameters": {{model.OtherParameters}}
              },
              "provenance": {
                "strategy": {{Text(plan.Provenance.Strategy)}},
                "seed": {{Number(plan.Provenance.Seed)}},
                "budget": {{Budget(plan.Provenance.Budget)}},
                "width_multiple": {{Number(plan.Provenance.WidthMultiple)}},
                "notes": {{Text(plan.Provenance.Notes)}}
              },
              "parameters": {
                "dense": {{Count(plan.DenseParameters)}},
                "kept": {{Count(plan.KeptParameters)}}
              },
              "blocks": [

            """);
        Lists(text, plan.Blocks.Count, (block, site) => plan.Blocks[block][site]);
        if (plan.Scales is { } scales)
        {
            text.Append("  ],\n  \"gains\": [\n");
            Lists(text, plan.Blocks.Count, (block, site) => scales.ForSite(block, site).ToArray());
        }

        return text.Append("  ]\n}\n").ToString();
    }

    private static void Lists<T>(StringBuilder text, int blocks, Func<int, SelectionSite, IEnumerable<T>> list)
        where T : IFormattable
    {
        for (int block = 0; block < blocks; block++)
        {
            text.Append("    {\n");
            foreach (var site in SelectionSites.All)
            {
                text.Append("      \"").Append(site.Descriptor().Key).Append("\": [");
                text.AppendJoin(", ", list(block, site).Select(value => value.ToString(null, CultureInfo.InvariantCulture)));
                text.Append(site == SelectionSites.All[^1] ? "]\n" : "],\n");
            }

            text.Append(block == blocks - 1 ? "    }\n" : "    },\n");
        }
    }

    private static void Append(StringBuilder text, FormattableString lines) =>
        text.Append(lines.ToString(CultureInfo.InvariantCulture).ReplaceLineEndings("\n"));

    private static string Budget(PruningBudget? budget) => budget is null
        ? "null"
        : $"{{ \"kind\": \"{StrictJsonFile.ToWord(budget.Kind)}\", "
            + $"\"value\": {budget.Value.ToString(CultureInfo.InvariantCulture)}, "
            + $"\"scope\": \"{StrictJsonFile.ToWord(budget.Scope)}\" }}";

    private static string Count(ParameterCount count) => "{ " + string.Join(", ", Enum.GetValues<ParameterScope>().Select(
        scope => FormattableString.Invariant($"\"{StrictJsonFile.ToWord(scope)}\": {count[scope]}"))) + " }";

    private static string Bool(bool value) => value ? "true" : "false";

    private static string Number(long? value) => value?.ToString(CultureInfo.InvariantCulture) ?? "null";

    // Relaxed: the file is not part of a web page, and a note with an apostrophe should read like one.
    private static string Text(string? value) =>
        value is null ? "null" : $"\"{JsonEncodedText.Encode(value, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";
}
