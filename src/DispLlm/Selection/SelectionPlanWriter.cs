using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace DispLlm.Modeling;

/// <summary>The words of plan files, shared by writer and reader.</summary>
internal static class SelectionPlanWords
{
    public static readonly (SelectionSite Value, string Word)[] Sites =
    [
        (SelectionSite.AttentionInput, "attention_input"),
        (SelectionSite.AttentionOutput, "attention_output"),
        (SelectionSite.MlpInput, "mlp_input"),
        (SelectionSite.MlpHidden, "mlp_hidden"),
        (SelectionSite.MlpOutput, "mlp_output"),
    ];

    public static readonly (NormOrder Value, string Word)[] NormOrders =
    [
        (NormOrder.NormThenSelect, "norm_then_select"),
        (NormOrder.SelectThenNorm, "select_then_norm"),
    ];

    public static readonly (BudgetKind Value, string Word)[] BudgetKinds =
    [
        (BudgetKind.Ratio, "ratio"),
        (BudgetKind.KeepFraction, "keep_fraction"),
        (BudgetKind.Parameters, "parameters"),
    ];

    public static readonly (ParameterScope Value, string Word)[] Scopes =
    [
        (ParameterScope.BlockWeights, "block_weights"),
        (ParameterScope.BlockWeightsAndBiases, "block_weights_and_biases"),
        (ParameterScope.WholeModel, "whole_model"),
    ];

    public static string ToWord<T>(this (T Value, string Word)[] words, T value)
        where T : struct, Enum => words.First(pair => pair.Value.Equals(value)).Word;
}

/// <summary>
/// Writes plan files by hand rather than with a serialiser: a site's list belongs on one line, so that a file of half a million
/// indices stays a page that one can read, and line tools show which site changed.
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
              "norm_order": "{{SelectionPlanWords.NormOrders.ToWord(plan.NormOrder)}}",
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
        if (plan.Scales is { } gains)
        {
            text.Append("  ],\n  \"gains\": [\n");
            Lists(text, plan.Blocks.Count, (block, site) => gains.ForSite(block, site).ToArray());
        }

        return text.Append("  ]\n}\n").ToString();
    }

    private static void Lists<T>(StringBuilder text, int blocks, Func<int, SelectionSite, IEnumerable<T>> of)
        where T : IFormattable
    {
        for (int block = 0; block < blocks; block++)
        {
            text.Append("    {\n");
            foreach (var (site, word) in SelectionPlanWords.Sites)
            {
                text.Append("      \"").Append(word).Append("\": [");
                text.AppendJoin(", ", of(block, site).Select(value => value.ToString(null, CultureInfo.InvariantCulture)));
                text.Append(site == SelectionSite.MlpOutput ? "]\n" : "],\n");
            }

            text.Append(block == blocks - 1 ? "    }\n" : "    },\n");
        }
    }

    private static void Append(StringBuilder text, FormattableString lines) =>
        text.Append(lines.ToString(CultureInfo.InvariantCulture).ReplaceLineEndings("\n"));

    private static string Budget(PruningBudget? budget) => budget is null
        ? "null"
        : $"{{ \"kind\": \"{SelectionPlanWords.BudgetKinds.ToWord(budget.Kind)}\", "
            + $"\"value\": {budget.Value.ToString(CultureInfo.InvariantCulture)}, "
            + $"\"scope\": \"{SelectionPlanWords.Scopes.ToWord(budget.Scope)}\" }}";

    private static string Count(ParameterCount count) => "{ " + string.Join(", ", SelectionPlanWords.Scopes.Select(
        scope => FormattableString.Invariant($"\"{scope.Word}\": {count[scope.Value]}"))) + " }";

    private static string Bool(bool value) => value ? "true" : "false";

    private static string Number(long? value) => value?.ToString(CultureInfo.InvariantCulture) ?? "null";

    // Relaxed: the file is not part of a web page, and a note with an apostrophe should read like one.
    private static string Text(string? value) =>
        value is null ? "null" : $"\"{JsonEncodedText.Encode(value, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"";
}
