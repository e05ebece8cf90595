using System.Globalization;
using System.Text;
using CsCheck;
using Xunit;

namespace DispLlm.Tests;

[Collection(nameof(SelectionPlanJsonTests))]
public sealed class SelectionPlanJsonTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("displlm-plan-").FullName;

    private static SelectionPlan Example { get; } = new(
        ModelShape.FromSpec(SelectionModels.Spec(hidden: 4, mlp: 6, blocks: 1, heads: 2, keyValueHeads: 1, headSize: 2)),
        [
            new()
            {
                AttentionInput = [0, 2],
                AttentionOutput = [1, 3],
                MlpInput = [2],
                MlpHidden = [0, 1, 5],
                MlpOutput = [0, 1, 2, 3],
                AttentionGroups = [0],
            },
        ])
    {
        Family = "llama",
        Provenance = new PlanProvenance
        {
            Strategy = "hypernetwork",
            Seed = 42,
            Budget = PruningBudget.FromRatio(0.50),
            WidthMultiple = 1,
            Notes = "it's a \"try\"\nüber λ = 6",
        },
    };

    // The format, to be read by a reviewer; a change of this text is a change of the format version.
    private const string ExampleText = """
        {
          "format_version": 3,
          "family": "llama",
          "layout": "all",
          "norm_order": "norm_then_select",
          "model": {
            "blocks": 1,
            "hidden_size": 4,
            "mlp_size": 6,
            "heads": 2,
            "key_value_heads": 1,
            "head_size": 2,
            "gated_mlp": true,
            "query_key_value_bias": false,
            "attention_output_bias": false,
            "mlp_bias": false,
            "output_norms": false,
            "query_key_norm": "none",
            "query_key_norm_bias": false,
            "stream_parameters": 131,
            "input_norm_parameters": 1,
            "other_parameters": 524
          },
          "provenance": {
            "strategy": "hypernetwork",
            "seed": 42,
            "budget": { "kind": "ratio", "value": 0.5, "scope": "block_weights" },
            "width_multiple": 1,
            "notes": "it's a \"try\"\nüber λ = 6"
          },
          "parameters": {
            "dense": { "block_weights": 120, "block_weights_and_biases": 120, "whole_model": 644 },
            "kept": { "block_weights": 42, "block_weights_and_biases": 42, "whole_model": 566 }
          },
          "blocks": [
            {
              "attention_input": [0, 2],
              "attention_output": [1, 3],
              "mlp_input": [2],
              "mlp_hidden": [0, 1, 5],
              "mlp_output": [0, 1, 2, 3],
              "attention_groups": [0]
            }
          ]
        }

        """;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Text_is_as_documented()
    {
        Assert.Equal(ExampleText.ReplaceLineEndings("\n"), Example.ToJson());
        Assert.Equal(Example, SelectionPlan.FromJson(ExampleText));
    }

    /// <summary>The format of before layouts and groups.</summary>
    [Fact]
    public void A_file_of_format_1_keeps_all_groups_in_layout_paper()
    {
        const string Text = """
            {
              "format_version": 1,
              "family": "llama",
              "norm_order": "norm_then_select",
              "model": {
                "blocks": 1,
                "hidden_size": 4,
                "mlp_size": 6,
                "heads": 2,
                "key_value_heads": 1,
                "head_size": 2,
                "gated_mlp": true,
                "query_key_value_bias": false,
                "attention_output_bias": false,
                "mlp_bias": false,
                "other_parameters": 524
              },
              "provenance": {
                "strategy": "hypernetwork",
                "seed": 42,
                "budget": { "kind": "ratio", "value": 0.5, "scope": "block_weights" },
                "width_multiple": 1,
                "notes": "it's a \"try\"\nüber λ = 6"
              },
              "parameters": {
                "dense": { "block_weights": 120, "block_weights_and_biases": 120, "whole_model": 644 },
                "kept": { "block_weights": 42, "block_weights_and_biases": 42, "whole_model": 566 }
              },
              "blocks": [
                {
                  "attention_input": [0, 2],
                  "attention_output": [1, 3],
                  "mlp_input": [2],
                  "mlp_hidden": [0, 1, 5],
                  "mlp_output": [0, 1, 2, 3]
                }
              ],
              "gains": [
                {
                  "attention_input": [2, 1, 1, 1],
                  "attention_output": [1, 1, 1, 1],
                  "mlp_input": [1, 1, 1, 1],
                  "mlp_hidden": [1, 1, 1, 1, 1, 0.5],
                  "mlp_output": [1, 1, 1, 1]
                }
              ]
            }
            """;
        var plan = SelectionPlan.FromJson(Text);
        Assert.Equal(PruningLayout.Paper, plan.Layout);
        Assert.Equal(Example.Blocks, plan.Blocks);
        Assert.Equal((Example.Provenance, Example.KeptParameters), (plan.Provenance, plan.KeptParameters));
        Assert.Equal(
            [2, .. Enumerable.Repeat(1f, 16), 0.5f, .. Enumerable.Repeat(1f, 5)], plan.Scales!.Values.ToArray());
        plan.Validate(SelectionModels.Spec(hidden: 4, mlp: 6, blocks: 1, heads: 2, keyValueHeads: 1, headSize: 2));

        // Written again it is of the present format, and the same.
        Assert.Contains("\"format_version\": 3", plan.ToJson(), StringComparison.Ordinal);
        Assert.Equal(plan, SelectionPlan.FromJson(plan.ToJson()));
        Assert.Throws<SelectionException>(() => plan.With(0, SelectionSite.AttentionGroups, []));
        Assert.Throws<SelectionException>(() => SelectionPlan.FromJson(
            Text.Replace("\"mlp_hidden\": [0, 1, 5],", string.Empty, StringComparison.Ordinal)));
    }

    [Fact]
    public void Saving_and_loading_gives_the_same_plan_and_the_same_bytes() =>
        Gen.Select(SelectionModels.Small, Gen.Int[0, 1_000_000], Gen.Long, Gen.Int[0, 2], SelectionModels.Scope)
            .Sample((spec, seed, runSeed, kind, scope) =>
            {
                var budget = kind switch
                {
                    0 => PruningBudget.FromRatio(new Random(seed).NextDouble()),
                    1 => PruningBudget.FromKeepFraction(1.0 / 3),
                    _ => PruningBudget.FromParameters(1 + seed),
                };
                var plan = SelectionModels.RandomPlan(spec, seed) with
                {
                    NormOrder = (NormOrder)(seed % 2),
                    Provenance = new PlanProvenance { Seed = runSeed, Budget = budget with { Scope = scope } },
                };
                string path = Path.Combine(_folder, FormattableString.Invariant($"plan-{Guid.NewGuid():N}.json"));
                plan.Save(path);
                var loaded = SelectionPlan.Load(path);
                Assert.Equal(plan, loaded);
                Assert.Equal(plan.KeptParameters, loaded.KeptParameters);
                Assert.Equal(File.ReadAllBytes(path), Encoding.UTF8.GetBytes(loaded.ToJson()));
            }, iter: 50);

    [Fact]
    public void Saving_replaces_the_file_and_leaves_nothing_beside_it()
    {
        string path = Path.Combine(_folder, "plan.json");
        File.WriteAllText(path, "old");
        Example.Save(path);
        Assert.Equal(Example, SelectionPlan.Load(path));
        Assert.Equal(["plan.json"], Directory.GetFiles(_folder).Select(Path.GetFileName));
        Assert.Throws<DirectoryNotFoundException>(() => Example.Save(Path.Combine(_folder, "nowhere", "plan.json")));
        Assert.Throws<FileNotFoundException>(() => SelectionPlan.Load(Path.Combine(_folder, "none.json")));
    }

    [Fact]
    public void Scales_follow_the_lists_one_for_each_gate_kept_or_not()
    {
        float[] gains = [.. Enumerable.Range(0, 23).Select(i => i == 4 ? 1f : 0.75f + i / 32f)];
        var plan = Example with { Scales = new FeatureScales(new GateLayout(Example.Model), gains) };
        string text = plan.ToJson();
        Assert.Equal(
            ExampleText.ReplaceLineEndings("\n").Replace(
                "    }\n  ]\n}\n",
                """
                    }
                  ],
                  "gains": [
                    {
                      "attention_input": [0.75, 0.78125, 0.8125, 0.84375],
                      "attention_output": [1, 0.90625, 0.9375, 0.96875],
                      "mlp_input": [1, 1.03125, 1.0625, 1.09375],
                      "mlp_hidden": [1.125, 1.15625, 1.1875, 1.21875, 1.25, 1.28125],
                      "mlp_output": [1.3125, 1.34375, 1.375, 1.40625],
                      "attention_groups": [1.4375]
                    }
                  ]
                }

                """.ReplaceLineEndings("\n"),
                StringComparison.Ordinal),
            text);
        Assert.Equal(plan, SelectionPlan.FromJson(text));
        Assert.NotEqual(plan, Example);

        // A list is edited without them.
        string edited = text.Replace("\"mlp_input\": [2]", "\"mlp_input\": [1, 2]", StringComparison.Ordinal);
        Assert.Equal(plan.With(0, SelectionSite.MlpInput, [1, 2]), SelectionPlan.FromJson(edited));
    }

    [Theory]
    [InlineData("[1, 0.90625", "[1, 1, 0.90625", "gains[0].attention_output has 5 scales; the model has 4 gates there, kept or not")]
    [InlineData("[1, 0.90625", "[1, \"x\"", "gains[0].attention_output[1] is \"x\" (line 48): it has the wrong type")]
    [InlineData("[1, 0.90625", "[1, 1e60", "block 0 S2 (AttentionOutput): the scale of gate 1 is Infinity; scales must be finite")]
    [InlineData("\"gains\": [", "\"gains\": [ null,", "gains has 2 blocks; the model has 1")]
    [InlineData("\"gains\"", "\"gain\"", "gain (line 45): no such key is known")]
    public void Bad_scales_are_named_with_their_key_and_value(string good, string bad, string says)
    {
        var layout = new GateLayout(Example.Model);
        string text = (
            Example with
            {
                Scales = new FeatureScales(
                layout, [.. Enumerable.Range(0, 23).Select(i => i == 4 ? 1f : 0.75f + i / 32f)])
            }).ToJson();
        Assert.Contains(good, text, StringComparison.Ordinal);
        Assert.Contains(
            says,
            Assert.Throws<SelectionException>(() => SelectionPlan.FromJson(text.Replace(good, bad, StringComparison.Ordinal))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Text_does_not_depend_on_the_culture()
    {
        var culture = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        culture.NumberFormat.NumberDecimalSeparator = ",";
        culture.NumberFormat.NegativeSign = "~";
        var before = CultureInfo.CurrentCulture;
        CultureInfo.CurrentCulture = culture;
        try
        {
            var plan = Example with { Provenance = Example.Provenance with { Seed = -5 } };
            Assert.Contains("\"seed\": -5", plan.ToJson(), StringComparison.Ordinal);
            Assert.Contains("\"value\": 0.5", plan.ToJson(), StringComparison.Ordinal);
            Assert.Equal(plan, SelectionPlan.FromJson(plan.ToJson()));
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    [Fact]
    public void Plan_edited_by_hand_is_counted_again()
    {
        // The counts in the file are stale now; the plan's are not. A byte-order mark and Windows line ends come with some editors.
        string edited = ExampleText
            .Replace("\"mlp_input\": [2]", "\"mlp_input\": [ 1,2 ]", StringComparison.Ordinal)
            .Replace("\"value\": 0.5", "\"value\": 0.500", StringComparison.Ordinal)
            .ReplaceLineEndings("\r\n");
        string path = Path.Combine(_folder, "edited.json");
        File.WriteAllText(path, edited, new UTF8Encoding(encoderShouldEmitUTF8Identifier: true));
        var plan = SelectionPlan.Load(path);
        Assert.Equal(new ParameterCount(48, 48, 572), plan.KeptParameters);
        var same = Example.With(0, SelectionSite.MlpInput, [1, 2]);
        Assert.Equal(same, plan);
        Assert.Equal(same.ToJson(), plan.ToJson());
    }

    [Theory]
    [InlineData("\"format_version\": 3", "\"format_version\": 0", "format_version is 0; this program reads version 1 to 3")]
    [InlineData("\"format_version\": 3", "\"format_version\": 4", "format_version is 4; this program reads version 1 to 3")]
    [InlineData("\"format_version\": 3", "\"format_version\": \"3\"", "format_version is \"3\" (line 2): it has the wrong type")]
    [InlineData("\"format_version\": 3,", "", "the key 'format_version' is missing")]
    [InlineData("\"format_version\": 3", "\"format_version\": 3, \"format_version\": 3", "format_version (line 2): the key is there twice")]
    [InlineData("\"family\": \"llama\"", "\"famly\": \"llama\"", "famly (line 3): no such key is known")]
    [InlineData("\"family\": \"llama\",", "", "the file (line 45): keys are missing: 'family'")]
    [InlineData("\"family\": \"llama\"", "\"family\": 3", "family is 3 (line 3): it has the wrong type")]
    [InlineData("norm_then_select", "whatever", "norm_order is \"whatever\" (line 5): it must be one of \"norm_then_select\"")]
    [InlineData("\"hidden_size\": 4", "\"hidden_size\": 4.5", "model.hidden_size is 4.5 (line 8): it has the wrong type")]
    [InlineData("\"hidden_size\": 4", "\"hidden_size\": 4, \"hidden_size\": 4", "model.hidden_size (line 8): the key is there twice")]
    [InlineData("\"mlp_size\": 6", "\"mlp_size\": 0", "IntermediateSize is 0")]
    [InlineData("\"mlp_size\": 6", "\"mlp_size\": 7", "dense.block_weights is 120, but the model of the 'model' section has 132")]
    [InlineData("\"gated_mlp\": true", "\"gated_mlp\": 1", "model.gated_mlp is 1 (line 13): it has the wrong type")]
    [InlineData("\"blocks\": 1,", "\"blocks\": 2,", "The plan has 1 blocks; the model has 2")]
    [InlineData("\"blocks\": 1,", "\"blocks\": 2000000000,", "too large to be counted: 2000000000 blocks")]
    [InlineData("\"other_parameters\": 524", "\"other_parameters\": -1", "OtherParameters is -1")]
    [InlineData("\"value\": 0.5", "\"value\": 1.5", "pruning ratio is 1.5; it must be from 0 to below 1")]
    [InlineData("\"value\": 0.5", "\"value\": \"half\"", "provenance.budget.value is \"half\" (line 27): it has the wrong type")]
    [InlineData("\"kind\": \"ratio\"", "\"kind\": \"parameters\"", "number of parameters is 0.5; it must be a whole number")]
    [InlineData("\"kind\": \"ratio\"", "\"kind\": \"Ratio\"", "provenance.budget.kind is \"Ratio\" (line 27): it must be one of \"ratio\"")]
    [InlineData("\"dense\": {", "\"sparse\": 5, \"dense\": {", "parameters.sparse (line 32): no such key is known")]
    [InlineData("\"gated_mlp\": true", "\"gated_mlp\": null", "model.gated_mlp is null (line 13): it has the wrong type")]
    [InlineData("\"mlp_input\": [2]", "\"mlp_input\": null", "blocks[0].mlp_input is null (line 39): it must not be null")]
    [InlineData("\"blocks\": [", "\"blocks\": [null, ", "The plan has 2 blocks; the model has 1")]
    [InlineData("\"family\"", "\"Family\"", "Family (line 3): no such key is known")]
    [InlineData("\"kind\": \"ratio\"", "\"kind\": 1", "provenance.budget.kind is 1 (line 27): it must be one of \"ratio\"")]
    [InlineData("\"seed\": 42", "\"seed\": 4e40", "provenance.seed is 4e40 (line 26): it has the wrong type")]
    [InlineData("\"dense\": {", "\"dense\": 5, \"sparse\": {", "parameters.dense is 5 (line 32): it has the wrong type")]
    [InlineData("\"mlp_input\": [2]", "\"mlp_input\": [2, \"x\"]", "blocks[0].mlp_input[1] is \"x\" (line 39): it has the wrong type")]
    [InlineData("\"mlp_input\": [2]", "\"mlp_input\": [2.0]", "blocks[0].mlp_input[0] is 2.0 (line 39): it has the wrong type")]
    [InlineData("\"mlp_input\": [2]", "\"mlp_input\": \"0-2\"", "blocks[0].mlp_input is \"0-2\" (line 39): it has the wrong type")]
    [InlineData("\"mlp_input\": [2]", "\"mlp_input\": [4]", "block 0 S3 (MlpInput): index 4 at position 0 is not within 0 to 3")]
    [InlineData("\"mlp_input\": [2]", "\"mlp_input\": []", "block 0 S3 (MlpInput): keeps nothing")]
    [InlineData("\"mlp_input\": [2],", "", "keys are missing: 'mlp_input'")]
    [InlineData("\"mlp_input\": [2]", "\"mlp_input\": [2,]", "not valid JSON")]
    [InlineData("\"seed\": 42,", "\"seed\": 42, // the answer", "not valid JSON")]
    [InlineData("\"strategy\": \"hypernetwork\"", "\"strategy\": \"\\ud800\"", "provenance.strategy is \"\\ud800\" (line 25)")]
    [InlineData("\"layout\": \"all\",", "", "the key 'layout' is missing")]
    [InlineData("\"layout\": \"all\"", "\"layout\": \"most\"", "layout is \"most\" (line 4): it must be one of \"paper\"")]
    [InlineData("\"layout\": \"all\"", "\"layout\": null", "the key 'layout' is missing")]
    [InlineData("\"layout\": \"all\"", "\"layout\": \"mlp\"", "block 0 S1 (AttentionInput): keeps 2 of 4 indices, but layout Mlp")]
    [InlineData("\"layout\": \"all\"", "\"layout\": \"stream\"", "block 0 S2 (AttentionOutput): differs from block 0 S1")]
    [InlineData(",\n      \"attention_groups\": [0]", "", "blocks[0].attention_groups is missing")]
    [InlineData("\"attention_groups\": [0]", "\"attention_groups\": null", "blocks[0].attention_groups is null (line 42): it must")]
    [InlineData("\"attention_groups\": [0]", "\"attention_groups\": [1]", "block 0 S6 (AttentionGroups): index 1 at position 0")]
    [InlineData("\"query_key_norm\": \"none\"", "\"query_key_norm\": \"all\"", "model.query_key_norm is \"all\" (line 18)")]
    [InlineData("\"stream_parameters\": 131", "\"stream_parameters\": -1", "StreamParameters is -1")]
    [InlineData("\"stream_parameters\": 131", "\"stream_parameters\": 132", "StreamParameters is 132 for each of 4 features")]
    [InlineData("\"input_norm_parameters\": 1", "\"input_norm_parameters\": 66", "InputNormParameters is 66")]
    public void Bad_file_is_named_with_its_key_and_value(string good, string bad, string says)
    {
        Assert.Contains(good, ExampleText, StringComparison.Ordinal);
        int at = ExampleText.IndexOf(good, StringComparison.Ordinal);
        string path = Path.Combine(_folder, "bad.json");
        File.WriteAllText(path, ExampleText.Remove(at, good.Length).Insert(at, bad));
        var error = Assert.Throws<SelectionException>(() => SelectionPlan.Load(path));
        Assert.StartsWith(path, error.Message, StringComparison.Ordinal);
        Assert.Contains(says, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Sizes_that_the_file_does_not_hold_take_no_memory()
    {
        string wide = ExampleText.Replace("\"hidden_size\": 4", "\"hidden_size\": 1000000000", StringComparison.Ordinal);
        string gains = "\"gains\": [{\"attention_input\": [1], \"attention_output\": [1], \"mlp_input\": [1], \"mlp_hidden\": [1], "
            + "\"mlp_output\": [1], \"attention_groups\": [1]}]";
        string scaled = ExampleText.Replace("\"hidden_size\": 4", "\"hidden_size\": 500000000", StringComparison.Ordinal)
            .Replace("\"stream_parameters\": 131", "\"stream_parameters\": 0", StringComparison.Ordinal)
            .Replace("\"input_norm_parameters\": 1", "\"input_norm_parameters\": 0", StringComparison.Ordinal)
            .Replace("    }\n  ]\n}", $"    }}\n  ],\n  {gains}\n}}", StringComparison.Ordinal);
        foreach (var (text, says) in new[] { (wide, "too large to be counted"), (scaled, "gains[0].attention_input has 1 scales; the "
            + "model has 500000000 gates") })
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            var error = Assert.Throws<SelectionException>(() => SelectionPlan.FromJson(text));
            Assert.Contains(says, error.Message, StringComparison.Ordinal);
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 10_000_000);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("{\"format_version\": 3}")]
    [InlineData("{\"format_version\": 3, \"blocks\": [[[[")]
    public void Text_without_a_plan_is_refused(string json) => Assert.Throws<SelectionException>(() => SelectionPlan.FromJson(json));

    [Fact]
    public void Invalid_UTF8_is_refused()
    {
        string path = Path.Combine(_folder, "bytes.json");
        byte[] bytes = Encoding.UTF8.GetBytes(ExampleText);
        bytes[ExampleText.IndexOf("llama", StringComparison.Ordinal)] = 0xFF;
        File.WriteAllBytes(path, bytes);
        Assert.StartsWith(path, Assert.Throws<SelectionException>(() => SelectionPlan.Load(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Truncated_file_is_refused()
    {
        string whole = Example.ToJson().TrimEnd();
        for (int length = 0; length < whole.Length; length++)
        {
            Assert.Throws<SelectionException>(() => SelectionPlan.FromJson(whole[..length]));
        }
    }
}
