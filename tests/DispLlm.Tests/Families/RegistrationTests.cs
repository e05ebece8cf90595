using AddYourOwnFamily;

namespace DispLlm.Tests.Families;

/// <summary>A family that cannot work is refused when it is added, with the reason, and not with somebody's checkpoint.</summary>
public sealed class RegistrationTests
{
    [Fact]
    public void Adding_a_family_leaves_the_set_it_was_added_to_alone()
    {
        var extended = ModelFamilies.BuiltIn.Add(new SeedOssFamily());
        Assert.Contains("seed_oss", extended.ModelTypes);
        Assert.DoesNotContain("seed_oss", ModelFamilies.BuiltIn.ModelTypes);
    }

    [Fact]
    public void A_model_type_that_another_family_claims_is_refused() =>
        Refused(new Changed { Types = ["my_model", "llama"] }, "'mine'", "'llama'", "belongs to family 'llama'");

    [Fact]
    public void A_name_that_another_family_has_is_refused() => Refused(new Changed { Name = "opt" }, "'opt'", "already");

    [Fact]
    public void A_family_without_a_model_type_is_refused() => Refused(new Changed { Types = [] }, "'mine'", "no model_type");

    [Fact]
    public void A_family_that_does_not_claim_its_own_example_is_refused() =>
        Refused(new Changed { Types = ["another"] }, "'mine'", "my_model");

    [Fact]
    public void Two_weights_of_one_name_are_refused() =>
        Refused(
            new Changed { Rename = (role, name) => role == WeightRole.MlpUp ? name.Replace("dense_h_to_4h", "dense_4h_to_h") : name },
            "dense_4h_to_h", "MlpUp",
            "MlpDown");

    [Fact]
    public void Names_that_do_not_tell_blocks_apart_are_refused() =>
        Refused(new Changed { Rename = (_, name) => name.Replace("layers.1.", "layers.0.") }, "block 0", "block 1");

    [Fact]
    public void A_weight_without_a_name_is_refused() =>
        Refused(new Changed { Change = spec => spec with { QueryKeyNorm = QueryKeyNorm.AllHeads } }, "'mine'", "QueryNorm");

    public static TheoryData<string, Func<DecoderSpec, DecoderSpec>, string> Contradictions => new()
    {
        { "no positions", spec => spec with { Rotary = null }, "no positions" },
        { "two kinds of positions", spec => spec with { LearnedPositions = new() }, "two kinds of positions" },
        { "negative offset", spec => spec with { Rotary = null, LearnedPositions = new(-1) }, "-1" },
        { "odd rotation", spec => spec with { Rotary = spec.Rotary! with { Dimensions = 7 } }, "7 features" },
        { "rotation wider than the head", spec => spec with { Rotary = spec.Rotary! with { Dimensions = 128 } }, "128 features" },
        { "uneven groups", spec => spec with { QueryKeyValueLayout = QueryKeyValueLayout.Consecutive, NumKeyValueHeads = 5 },
            "NumAttentionHeads is 12" },
        { "fused groups", spec => spec with { NumKeyValueHeads = 4 }, "ByHead" },
        { "parallel with post-norms", spec => spec with { NormPlacement = NormPlacement.PostNorm }, "Parallel" },
        { "no blocks", spec => spec with { NumLayers = 0 }, "NumLayers is 0" },
        { "no epsilon", spec => spec with { NormEpsilon = 0 }, "NormEpsilon is 0" },
        { "a window of nothing", spec => spec with { SlidingWindow = 0 }, "SlidingWindow is 0" },
        { "a cap of nothing", spec => spec with { AttentionSoftcap = 0 }, "AttentionSoftcap is 0" },
        { "attention of other blocks", spec => spec with { LayerAttention = [new(spec.Rotary, null)] }, "LayerAttention is of 1 blocks" },
        { "empty embedding", spec => spec with { EmbeddingSize = 0 }, "EmbeddingSize is 0" },
    };

    [Theory]
    [MemberData(nameof(Contradictions), DisableDiscoveryEnumeration = true)]
    public void A_spec_that_contradicts_itself_is_refused(string what, Func<DecoderSpec, DecoderSpec> change, string reason)
    {
        Assert.NotEmpty(what);
        Refused(new Changed { Change = change }, "'mine'", reason);
    }

    [Fact]
    public void A_checkpoint_whose_configuration_contradicts_itself_is_named()
    {
        var config = ModelConfig.Parse(new Changed().Example.ToJson().ToJsonString(), "/models/mine/config.json");
        var error = Assert.Throws<CheckpointException>(
            () => DecoderSpec.Read(config, new Changed { Change = spec => spec with { NumKeyValueHeads = 4 } }));
        Assert.Contains("/models/mine/config.json", error.Message, StringComparison.Ordinal);
        Assert.Contains("ByHead", error.Message, StringComparison.Ordinal);
    }

    private static void Refused(IModelFamily family, params string[] reasons)
    {
        var error = Assert.Throws<ArgumentException>(() => ModelFamilies.BuiltIn.Add(family));
        Assert.All(reasons, reason => Assert.Contains(reason, error.Message, StringComparison.Ordinal));
    }

    /// <summary>A sound family with one thing changed.</summary>
    private sealed class Changed : IModelFamily
    {
        private readonly GptNeoxFamily _sound = new();

        public string Name { get; init; } = "mine";

        public IReadOnlyCollection<string> Types { get; init; } = ["my_model"];

        public Func<DecoderSpec, DecoderSpec> Change { get; init; } = spec => spec;

        public Func<WeightRole, string, string> Rename { get; init; } = (_, name) => name;

        public IReadOnlyCollection<string> ModelTypes => Types;

        public ModelConfig Example
        {
            get
            {
                var json = _sound.Example.ToJson();
                json["model_type"] = "my_model";
                return ModelConfig.Parse(json.ToJsonString(), "example");
            }
        }

        public DecoderSpec ReadSpec(ModelConfig config) => Change(_sound.ReadSpec(config));

        public string ModuleName(WeightRole role, int block) => Rename(role, _sound.ModuleName(role, block));
    }
}
