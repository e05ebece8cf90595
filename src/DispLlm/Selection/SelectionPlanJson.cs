using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace DispLlm.Modeling;

/// <summary>
/// A plan file as it is on disk. Its members are the file's keys; all are required but those with a default. It is read strictly, because
/// people edit these files. Files of before format 3 have no layout and no S6: all of their groups are kept.
/// </summary>
internal sealed record SelectionPlanJson(
    int FormatVersion,
    string? Family,
    NormOrder NormOrder,
    SelectionPlanJson.ModelJson Model,
    SelectionPlanJson.ProvenanceJson Provenance,
    SelectionPlanJson.ParametersJson Parameters,
    IReadOnlyList<SiteMap<int[]>?> Blocks,
    IReadOnlyList<SiteMap<float[]>?>? Gains = null,
    PruningLayout? Layout = null)
{
    // The first version with layouts and S6.
    private const int Layouts = 3;

    private static readonly JsonSerializerOptions s_options = new(StrictJsonFile.Options)
    {
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { SelectionSites.AddSiteKeys } },
    };

    /// <summary>Reads a plan.</summary>
    /// <param name="utf8">The file's bytes.</param>
    /// <param name="source">The file's name, for errors.</param>
    /// <exception cref="SelectionException">The bytes are no valid plan; the message names source, key and value.</exception>
    public static SelectionPlan Read(ReadOnlySpan<byte> utf8, string source)
    {
        try
        {
            return StrictJsonFile.Parse<SelectionPlanJson>(utf8, 1, SelectionPlan.CurrentFormatVersion, s_options).ToPlan();
        }
        catch (Exception e) when (e is FormatException or DispLlmException)
        {
            throw new SelectionException($"{source}: {e.Message}", e);
        }
    }

    /// <inheritdoc cref="Read(ReadOnlySpan{byte}, string)"/>
    public static SelectionPlan Read(string json, string source) => Read(Encoding.UTF8.GetBytes(json), source);

    private SelectionPlan ToPlan()
    {
        var model = Model.ToShape();
        var layout = Layout
            ?? (FormatVersion < Layouts ? PruningLayout.Paper : throw new SelectionException("the key 'layout' is missing."));
        var plan = new SelectionPlan(model, [.. Blocks.Select((block, index) => ToSelection(block, index, model))], layout)
        {
            Family = Family,
            NormOrder = NormOrder,
            Provenance = Provenance.ToProvenance(),
            Scales = Gains is null ? null : ToScales(Gains, new GateLayout(model), FormatVersion),
        };

        // The kept counts are for the file's readers and go stale when a list is edited by hand: the plan computes its own. The dense
        // counts cannot go stale. Where they disagree with the model section, one of the two was damaged.
        var dense = Parameters.Dense.ToCount();
        foreach (var scope in Enum.GetValues<ParameterScope>().Where(scope => dense[scope] != plan.DenseParameters[scope]))
        {
            throw new SelectionException(
                $"parameters.dense.{StrictJsonFile.ToWord(scope)} is {dense[scope]}, but the model of the 'model' section "
                    + $"has {plan.DenseParameters[scope]}.");
        }

        return plan;
    }

    private BlockSelection ToSelection(SiteMap<int[]>? block, int index, ModelShape model) => block is null ? null!
        : new BlockSelection(SiteMap.Create<IReadOnlyList<int>>(site => block[site] ?? (FormatVersion < Layouts
            ? [.. Enumerable.Range(0, model.SiteSize(site))]
            : throw new SelectionException($"blocks[{index}].{site.Descriptor().Key} is missing."))));

    /// <summary>
    /// A scale for every gate, kept or not. All lists are checked before memory is taken for what the model section claims.
    /// </summary>
    private static FeatureScales ToScales(IReadOnlyList<SiteMap<float[]>?> blocks, GateLayout layout, int version)
    {
        int expected = layout.Sites.Count / SelectionSites.Count;
        if (blocks.Count != expected)
        {
            throw new SelectionException($"gains has {blocks.Count} blocks; the model has {expected}.");
        }

        float[] List(GateRange range)
        {
            string key = $"gains[{range.Block}].{range.Site.Descriptor().Key}";
            var block = blocks[range.Block] ?? throw new SelectionException($"gains[{range.Block}] is null; it must be an object.");
            float[]? list = block[range.Site] ?? (version < Layouts ? [.. Enumerable.Repeat(1f, range.Size)] : null);
            return list is null ? throw new SelectionException($"{key} is missing.")
                : list.Length == range.Size
                ? list
                : throw new SelectionException($"{key} has {list.Length} scales; the model has {range.Size} gates there, kept or not.");
        }

        return new FeatureScales(layout, (float[])[.. layout.Sites.Select(List).ToArray().SelectMany(list => list)]);
    }

    internal sealed record ModelJson(
        int Blocks, int HiddenSize, int MlpSize, int Heads, int KeyValueHeads, int HeadSize, bool GatedMlp,
        bool QueryKeyValueBias, bool AttentionOutputBias, bool MlpBias, long OtherParameters, bool OutputNorms = false,
        QueryKeyNorm QueryKeyNorm = QueryKeyNorm.None, bool QueryKeyNormBias = false, long StreamParameters = 0,
        int InputNormParameters = 0)
    {
        public ModelShape ToShape() => new()
        {
            NumLayers = Blocks,
            HiddenSize = HiddenSize,
            IntermediateSize = MlpSize,
            NumAttentionHeads = Heads,
            NumKeyValueHeads = KeyValueHeads,
            HeadDim = HeadSize,
            GatedMlp = GatedMlp,
            QueryKeyValueBias = QueryKeyValueBias,
            AttentionOutputBias = AttentionOutputBias,
            OutputNorms = OutputNorms,
            MlpBias = MlpBias,
            QueryKeyNorm = QueryKeyNorm,
            QueryKeyNormBias = QueryKeyNormBias,
            StreamParameters = StreamParameters,
            InputNormParameters = InputNormParameters,
            OtherParameters = OtherParameters,
        };
    }

    internal sealed record ProvenanceJson(string? Strategy, long? Seed, BudgetJson? Budget, int? WidthMultiple, string? Notes)
    {
        public PlanProvenance ToProvenance() => new()
        {
            Strategy = Strategy,
            Seed = Seed,
            Budget = Budget is null ? null : PruningBudget.Create(Budget.Kind, Budget.Value) with { Scope = Budget.Scope },
            WidthMultiple = WidthMultiple,
            Notes = Notes,
        };
    }

    internal sealed record BudgetJson(BudgetKind Kind, decimal Value, ParameterScope Scope);

    internal sealed record ParametersJson(CountJson Dense, CountJson Kept);

    internal sealed record CountJson(long BlockWeights, long BlockWeightsAndBiases, long WholeModel)
    {
        public ParameterCount ToCount() => new(BlockWeights, BlockWeightsAndBiases, WholeModel);
    }
}
