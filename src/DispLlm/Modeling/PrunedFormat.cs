using System.Globalization;
using System.Text.Json.Nodes;

namespace DispLlm.Modeling;

/// <summary>
/// The format of a pruned checkpoint: the <c>displlm</c> section of <c>config.json</c>, a <c>model_type</c> that no other program reads,
/// index tensors beside the weights, and the plan as JSON.
/// </summary>
internal static class PrunedFormat
{
    public const int Version = 2;
    public const string Section = "displlm";
    public const string ModelType = "displlm_pruned";
    public const string Architecture = "DispLlmPrunedForCausalLM";

    private const string IndexPrefix = "displlm.blocks.";

    /// <summary>
    /// The sites of a block whose index lists the pruned network needs: those on the residual stream that do not keep all of it. At S4 and
    /// S6 the weights on both sides are pruned, and with one stream the stream itself is.
    /// </summary>
    public static IEnumerable<SelectionSite> IndexedSites(SelectionPlan plan, int block) => plan.Layout.HasOneStream() ? []
        : SelectionSites.All.Where(site =>
            site.Descriptor().IsOnStream && plan.Blocks[block][site].Count < plan.Model.SiteSize(site));

    public static string IndexTensor(int block, SelectionSite site) =>
        string.Create(CultureInfo.InvariantCulture, $"{IndexPrefix}{block}.s{(int)site}");

    public static bool IsIndexTensor(string name, SelectionPlan? plan) =>
        plan is not null && name.StartsWith(IndexPrefix, StringComparison.Ordinal);

    /// <summary>
    /// The configuration of the pruned folder: the original keys, and a <c>model_type</c> at which programs that know nothing of pruning
    /// fail.
    /// </summary>
    public static JsonObject Configure(ModelConfig dense, IModelFamily family, SelectionPlan plan, ParameterCounter counter)
    {
        var config = dense.ToJson();
        var before = counter.Dense;
        var after = counter.Count(plan);
        config[Section] = new JsonObject
        {
            ["format_version"] = Version,
            ["family"] = family.Name,
            ["layout"] = plan.Layout.ToString(),
            ["norm_order"] = plan.NormOrder.ToString(),
            ["model_type"] = dense.GetString("model_type"),
            ["architectures"] = config["architectures"]?.DeepClone(),
            ["strategy"] = plan.Provenance.Strategy,
            ["dense_block_weights"] = before.BlockWeights,
            ["kept_block_weights"] = after.BlockWeights,
            ["dense_parameters"] = before.WholeModel,
            ["kept_parameters"] = after.WholeModel,
        };
        config["model_type"] = ModelType;
        config["architectures"] = new JsonArray(Architecture);
        return config;
    }

    /// <summary>The family and the plan of a pruned folder; null for a dense one.</summary>
    public static (IModelFamily Family, SelectionPlan Plan)? TryRead(CheckpointFolder folder, ModelFamilies families)
    {
        var section = folder.Config.TryGetSection(Section);
        if (section is null)
        {
            return null;
        }

        int version = section.GetInt("format_version");
        if (version is < 1 or > Version)
        {
            throw section.Unsupported("format_version", $"this program reads version 1 to {Version}");
        }

        string name = section.GetString("family");
        var family = families.Find(name)
            ?? throw section.Unsupported("family", "no such family is registered; add it with ModelFamilies.Add");
        var plan = SelectionPlan.Load(Path.Combine(folder.FolderPath, SelectionPlan.FileName));
        string order = section.GetString("norm_order");
        if (order != plan.NormOrder.ToString())
        {
            throw section.Unsupported("norm_order", $"{SelectionPlan.FileName} says {plan.NormOrder}: the two do not belong together");
        }

        return (family, plan);
    }

    /// <summary>Checks that the index tensors and the plan say the same.</summary>
    public static void CheckIndices(CheckpointFolder folder, SelectionPlan plan)
    {
        for (int block = 0; block < plan.Blocks.Count; block++)
        {
            foreach (var site in IndexedSites(plan, block))
            {
                string name = IndexTensor(block, site);
                if (!folder.Contains(name))
                {
                    throw new CheckpointException(folder.FolderPath, name, $"the pruned checkpoint holds no index tensor '{name}'.");
                }

                using var stored = folder.Read(name);
                if (stored.dtype != TorchSharp.torch.ScalarType.Int32
                    || !stored.data<int>().ToArray().SequenceEqual(plan.Blocks[block][site]))
                {
                    throw new CheckpointException(
                        folder.FolderPath, name, $"index tensor '{name}' differs from {SelectionPlan.FileName}: the two do not belong "
                            + "together.");
                }
            }
        }
    }
}
