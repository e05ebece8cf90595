using System.Text.Json;

namespace DispLlm.Modeling;

/// <summary>
/// Reads plan files strictly: a key that is unknown, missing or there twice is an error, because people edit these files, and a typing
/// error that is silently ignored would cut the wrong thing.
/// </summary>
internal static class SelectionPlanReader
{
    private const string GainsKey = "gains";

    private static readonly string[] s_sites = [.. SelectionPlanWords.Sites.Select(site => site.Word)];

    public static SelectionPlan Read(byte[] utf8, string source)
    {
        // Some editors put a byte-order mark in front of UTF-8; it carries no meaning.
        var json = utf8.AsMemory(utf8 is [0xEF, 0xBB, 0xBF, ..] ? 3 : 0);
        return Guard(source, () => JsonDocument.Parse(json));
    }

    public static SelectionPlan Read(string json, string source) => Guard(source, () => JsonDocument.Parse(json));

    private static SelectionPlan Guard(string source, Func<JsonDocument> parse)
    {
        try
        {
            using var document = parse();
            return Plan(document.RootElement);
        }
        catch (JsonException exception)
        {
            throw new SelectionException($"{source}: not valid JSON: {exception.Message}", exception);
        }
        catch (InvalidOperationException exception)
        {
            // What System.Text.Json says of text that is not Unicode.
            throw new SelectionException($"{source}: not valid JSON: {exception.Message}", exception);
        }
        catch (DispLlmException exception)
        {
            throw new SelectionException($"{source}: {exception.Message}", exception);
        }
    }

    private static SelectionPlan Plan(JsonElement root)
    {
        EnsureVersion(root);
        var plan = Members(root, "the plan", ["format_version", "family", "norm_order", "model", "provenance", "parameters", "blocks"], GainsKey);
        var model = Model(plan["model"]);
        var read = new SelectionPlan(model, Array(plan["blocks"], "blocks").Select((e, i) => Block(e, $"blocks[{i}]")).ToArray())
        {
            Family = OptionalText(plan["family"], "family"),
            NormOrder = Word(plan["norm_order"], "norm_order", SelectionPlanWords.NormOrders),
            Provenance = Provenance(plan["provenance"]),
            Scales = plan.TryGetValue(GainsKey, out var gains) ? Gains(gains, model) : null,
        };
        EnsureCounts(plan["parameters"], read);
        return read;
    }

    // Before anything else: a later version may have other keys, and "unknown key" would send its reader the wrong way.
    private static void EnsureVersion(JsonElement root)
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw new SelectionException($"the plan is {Say(root)}; it must be an object.");
        }

        if (!root.TryGetProperty("format_version", out var version))
        {
            throw new SelectionException("the plan lacks the key 'format_version'.");
        }

        if (Integer(version, "format_version") is var number and not SelectionPlan.CurrentFormatVersion)
        {
            throw new SelectionException($"format_version is {number}; this program reads version {SelectionPlan.CurrentFormatVersion}.");
        }
    }

    private static ModelShape Model(JsonElement element)
    {
        var model = Members(
            element, "model", "blocks", "hidden_size", "mlp_size", "heads", "key_value_heads", "head_size", "gated_mlp",
            "query_key_value_bias", "attention_output_bias", "mlp_bias", "other_parameters");
        int Size(string key) => Integer(model[key], $"model.{key}");
        bool Flag(string key) => Boolean(model[key], $"model.{key}");
        return new ModelShape
        {
            NumLayers = Size("blocks"),
            HiddenSize = Size("hidden_size"),
            IntermediateSize = Size("mlp_size"),
            NumAttentionHeads = Size("heads"),
            NumKeyValueHeads = Size("key_value_heads"),
            HeadDim = Size("head_size"),
            GatedMlp = Flag("gated_mlp"),
            QueryKeyValueBias = Flag("query_key_value_bias"),
            AttentionOutputBias = Flag("attention_output_bias"),
            MlpBias = Flag("mlp_bias"),
            OtherParameters = Long(model["other_parameters"], "model.other_parameters"),
        };
    }

    private static PlanProvenance Provenance(JsonElement element)
    {
        var provenance = Members(element, "provenance", "strategy", "seed", "budget", "width_multiple", "notes");
        return new PlanProvenance
        {
            Strategy = OptionalText(provenance["strategy"], "provenance.strategy"),
            Seed = IsNull(provenance["seed"]) ? null : Long(provenance["seed"], "provenance.seed"),
            Budget = IsNull(provenance["budget"]) ? null : Budget(provenance["budget"]),
            WidthMultiple = IsNull(provenance["width_multiple"])
                ? null
                : Integer(provenance["width_multiple"], "provenance.width_multiple"),
            Notes = OptionalText(provenance["notes"], "provenance.notes"),
        };
    }

    private static PruningBudget Budget(JsonElement element)
    {
        const string Key = "provenance.budget";
        var budget = Members(element, Key, "kind", "value", "scope");
        var kind = Word(budget["kind"], $"{Key}.kind", SelectionPlanWords.BudgetKinds);
        if (budget["value"] is not { ValueKind: JsonValueKind.Number } number || !number.TryGetDecimal(out decimal value))
        {
            throw Bad($"{Key}.value", budget["value"], "a number");
        }

        return PruningBudget.Create(kind, value) with { Scope = Word(budget["scope"], $"{Key}.scope", SelectionPlanWords.Scopes) };
    }

    /// <summary>A gain for every gate, kept or not, so that lists of kept indices may be edited without them.</summary>
    private static FeatureScales Gains(JsonElement element, ModelShape model)
    {
        var layout = new GateLayout(model);
        float[] values = new float[layout.Count];
        var blocks = Array(element, GainsKey).ToArray();
        if (blocks.Length != model.NumLayers)
        {
            throw new SelectionException($"{GainsKey} has {blocks.Length} blocks; the model has {model.NumLayers}.");
        }

        for (int block = 0; block < blocks.Length; block++)
        {
            string key = $"{GainsKey}[{block}]";
            var lists = Members(blocks[block], key, s_sites);
            foreach (var (site, word) in SelectionPlanWords.Sites)
            {
                var range = layout[block, site];
                float[] list = [.. Array(lists[word], $"{key}.{word}").Select(e => e.ValueKind == JsonValueKind.Number && e.TryGetSingle(out float gain)
                    ? gain
                    : throw Bad($"{key}.{word}", e, "a list of numbers"))];
                if (list.Length != range.Size)
                {
                    throw new SelectionException($"{key}.{word} has {list.Length} gains; the model has {range.Size} gates there, kept or not.");
                }

                list.CopyTo(values, range.Offset);
            }
        }

        return new FeatureScales(layout, values);
    }

    private static BlockSelection Block(JsonElement element, string key)
    {
        var lists = Members(element, key, s_sites);
        int[] List(SelectionSite site)
        {
            string word = SelectionPlanWords.Sites.ToWord(site), listKey = $"{key}.{word}";
            return Array(lists[word], listKey).Select(e => e.ValueKind == JsonValueKind.Number && e.TryGetInt32(out int index)
                ? index
                : throw Bad(listKey, e, "a list of whole numbers")).ToArray();
        }

        return new BlockSelection
        {
            AttentionInput = List(SelectionSite.AttentionInput),
            AttentionOutput = List(SelectionSite.AttentionOutput),
            MlpInput = List(SelectionSite.MlpInput),
            MlpHidden = List(SelectionSite.MlpHidden),
            MlpOutput = List(SelectionSite.MlpOutput),
        };
    }

    // The kept counts in a file are for its readers; they go stale when a list is edited by hand, and the plan computes its own. The
    // dense counts cannot go stale: where they disagree with the model section, one of the two was damaged.
    private static void EnsureCounts(JsonElement element, SelectionPlan plan)
    {
        var parameters = Members(element, "parameters", "dense", "kept");
        var dense = Count(parameters["dense"], "parameters.dense");
        Count(parameters["kept"], "parameters.kept");
        foreach (var (scope, word) in SelectionPlanWords.Scopes)
        {
            if (dense[scope] != plan.DenseParameters[scope])
            {
                throw new SelectionException(
                    $"parameters.dense.{word} is {dense[scope]}, but the model of the 'model' section has {plan.DenseParameters[scope]}.");
            }
        }
    }

    private static ParameterCount Count(JsonElement element, string key)
    {
        var count = Members(element, key, SelectionPlanWords.Scopes.Select(scope => scope.Word).ToArray());
        long Of(ParameterScope scope)
        {
            string word = SelectionPlanWords.Scopes.ToWord(scope);
            return Long(count[word], $"{key}.{word}");
        }

        return new(Of(ParameterScope.BlockWeights), Of(ParameterScope.BlockWeightsAndBiases), Of(ParameterScope.WholeModel));
    }

    private static Dictionary<string, JsonElement> Members(JsonElement element, string key, params string[] expected) => Members(element, key, expected, null);

    private static Dictionary<string, JsonElement> Members(JsonElement element, string key, string[] expected, string? optional)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw Bad(key, element, "an object");
        }

        var members = new Dictionary<string, JsonElement>();
        foreach (var member in element.EnumerateObject())
        {
            if (!expected.Contains(member.Name) && member.Name != optional)
            {
                throw new SelectionException($"unknown key '{member.Name}' in {key}; known are {string.Join(", ", optional is null ? expected : [.. expected, optional])}.");
            }

            if (!members.TryAdd(member.Name, member.Value))
            {
                throw new SelectionException($"the key '{member.Name}' in {key} is there twice.");
            }
        }

        return expected.FirstOrDefault(name => !members.ContainsKey(name)) is { } missing
            ? throw new SelectionException($"the key '{missing}' is missing in {key}.")
            : members;
    }

    private static JsonElement.ArrayEnumerator Array(JsonElement element, string key) =>
        element.ValueKind == JsonValueKind.Array ? element.EnumerateArray() : throw Bad(key, element, "a list");

    private static int Integer(JsonElement element, string key) =>
        element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int value)
            ? value
            : throw Bad(key, element, "a whole number");

    private static long Long(JsonElement element, string key) =>
        element.ValueKind == JsonValueKind.Number && element.TryGetInt64(out long value)
            ? value
            : throw Bad(key, element, "a whole number");

    private static bool Boolean(JsonElement element, string key) =>
        element.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? element.GetBoolean()
            : throw Bad(key, element, "true or false");

    private static string? OptionalText(JsonElement element, string key) =>
        element.ValueKind is JsonValueKind.String or JsonValueKind.Null ? element.GetString() : throw Bad(key, element, "a text or null");

    private static T Word<T>(JsonElement element, string key, (T Value, string Word)[] words)
        where T : struct, Enum
    {
        if (element.ValueKind == JsonValueKind.String)
        {
            foreach (var (value, word) in words)
            {
                if (element.ValueEquals(word))
                {
                    return value;
                }
            }
        }

        throw Bad(key, element, $"one of {string.Join(", ", words.Select(pair => $"\"{pair.Word}\""))}");
    }

    private static bool IsNull(JsonElement element) => element.ValueKind == JsonValueKind.Null;

    private static SelectionException Bad(string key, JsonElement element, string wanted) =>
        new($"{key} is {Say(element)}; it must be {wanted}.");

    private static string Say(JsonElement element)
    {
        string raw = element.GetRawText();
        return raw.Length <= 40 ? raw : $"{raw[..40]}...";
    }
}
