using System.Globalization;
using System.Text.Json.Nodes;

namespace DispLlm.Modeling;

/// <summary>
/// The format of a pruned folder: a Hugging Face folder whose <c>config.json</c> has a section <c>displlm</c>, beside the plan as JSON.
/// </summary>
internal static class PrunedFormat
{
    /// <summary>
    /// The version that is written. Before version 3, index lists were tensors among the weights, and norms were whole whatever S1 and S3
    /// kept; before version 2 there were no layouts.
    /// </summary>
    public const int Version = 3;

    public const string Section = "displlm";

    /// <summary>The keys of <c>config.json</c> of which a narrower model has other values, with those of the dense model.</summary>
    public const string DenseSection = "dense";

    /// <summary>What the names of classes in the modeling file begin with.</summary>
    public const string OwnClass = "DispLlm";

    private const string Masks = "kept";
    /// <summary>The first version with masks in <c>config.json</c>, and with norms that are cut.</summary>
    public const int FirstWithMasks = 3;
    private const string IndexPrefix = "displlm.blocks.";

    /// <summary>
    /// The sites of a block whose index lists the pruned network needs: those on the residual stream that do not keep all of it. At S4 and
    /// S6 the weights on both sides are pruned, and with one stream the stream itself is.
    /// </summary>
    public static IEnumerable<SelectionSite> IndexedSites(SelectionPlan plan, int block) => plan.Layout.HasOneStream() ? []
        : SelectionSites.All.Where(site =>
            site.Descriptor().IsOnStream && plan.Blocks[block][site].Count < plan.Model.SiteSize(site));

    /// <summary>Whether a tensor is an index list of an older folder.</summary>
    public static bool IsIndexTensor(string name) => name.StartsWith(IndexPrefix, StringComparison.Ordinal);

    /// <summary>
    /// What <c>config.json</c> says that each block keeps: masks at S1, S2, S3 and S5, null for all, and how much at S4; a sixth entry, the
    /// mask of key-value groups, where a block of the model lacks some.
    /// </summary>
    public static JsonArray DescribeKept(SelectionPlan plan)
    {
        var model = plan.Model;
        bool hasGroups = plan.Blocks.Any(block => block.AttentionGroups.Count < model.NumKeyValueHeads);
        JsonNode? Entry(BlockSelection block, SelectionSite site) => site == SelectionSite.MlpHidden ? block.MlpHidden.Count
            : plan.Layout.Shares(site) ? null
            : FeatureMask.Encode(block[site], model.SiteSize(site));
        return
        [
            .. plan.Blocks.Select(block => new JsonArray(
                [
                    .. SelectionSites.All.Where(site => hasGroups || site != SelectionSite.AttentionGroups)
                        .Select(site => Entry(block, site)),
                ])),
        ];
    }

    /// <summary>The order that <c>modeling_displlm.py</c> goes by: where there is one stream, it has nothing to select.</summary>
    public static NormOrder SelectionOrder(SelectionPlan plan) =>
        plan.Layout.HasOneStream() ? NormOrder.NormThenSelect : plan.NormOrder;

    /// <summary>What a pruned folder says of itself; null for a dense one.</summary>
    public static PrunedFolder? TryRead(CheckpointFolder folder, ModelFamilies families)
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
        var expected = version < FirstWithMasks ? plan.NormOrder : SelectionOrder(plan);
        if (order != expected.ToString())
        {
            throw section.Unsupported("norm_order", $"{SelectionPlan.FileName} says {expected}: the two do not belong together");
        }

        return new PrunedFolder(family, plan, version, DenseConfig(folder.Config, section));
    }

    /// <summary>Checks that the folder's index lists and the plan say the same.</summary>
    public static void CheckKept(CheckpointFolder folder, PrunedFolder pruned)
    {
        if (pruned.Version < FirstWithMasks)
        {
            CheckIndexTensors(folder, pruned.Plan);
            return;
        }

        var said = folder.Config.TryGetSection(Section)!.ToJson()[Masks] as JsonArray;
        var expected = DescribeKept(pruned.Plan);
        for (int block = 0; block < expected.Count; block++)
        {
            if (said is null || said.Count != expected.Count || !JsonNode.DeepEquals(said[block], expected[block]))
            {
                throw new CheckpointException(
                    folder.Config.File,
                    $"{Section}.{Masks}[{block}]",
                    $"what block {block} keeps differs from {SelectionPlan.FileName}: the two do not belong together. Take both from one "
                        + "folder.");
            }
        }
    }

    /// <summary>The configuration of the dense model: without what was added, with the sizes and names that were replaced.</summary>
    private static ModelConfig DenseConfig(ModelConfig config, ModelConfig section)
    {
        var json = config.ToJson();
        json.Remove(Section);
        json.Remove("auto_map");
        if (json["architectures"] is JsonArray names)
        {
            json["architectures"] = new JsonArray(
                [.. names.Select(name => (JsonNode)name!.GetValue<string>().Replace(OwnClass, string.Empty, StringComparison.Ordinal))]);
        }

        var replaced = section.TryGetSection(DenseSection)?.ToJson() ?? [];
        foreach (var (key, value) in section.ToJson().Where(entry => entry.Key is "model_type" or "architectures"))
        {
            replaced[key] = value?.DeepClone();
        }

        foreach (var (key, value) in replaced)
        {
            json[key] = value?.DeepClone();
        }

        return ModelConfig.Parse(json.ToJsonString(), config.File);
    }

    private static void CheckIndexTensors(CheckpointFolder folder, SelectionPlan plan)
    {
        for (int block = 0; block < plan.Blocks.Count; block++)
        {
            foreach (var site in IndexedSites(plan, block))
            {
                string name = string.Create(CultureInfo.InvariantCulture, $"{IndexPrefix}{block}.s{(int)site}");
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

/// <summary>What a pruned folder says of itself.</summary>
/// <param name="Family">The family of the model.</param>
/// <param name="Plan">What is kept.</param>
/// <param name="Version">The version of the folder's format.</param>
/// <param name="DenseConfig">The configuration of the dense model.</param>
internal sealed record PrunedFolder(IModelFamily Family, SelectionPlan Plan, int Version, ModelConfig DenseConfig)
{
    /// <summary>Whether norms that S1 and S3 select before are stored whole.</summary>
    public bool HasWholeNorms => Version < PrunedFormat.FirstWithMasks;
}
