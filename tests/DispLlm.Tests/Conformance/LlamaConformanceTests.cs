namespace DispLlm.Tests.Conformance;

public sealed class LlamaConformanceTests : FamilyConformance
{
    public static TheoryData<string> Fixtures =>
    [
        "llama-mha", "llama-2023", "llama-gqa-biases-tied", "llama-rope-linear", "llama-rope-llama3", "llama-config-v5", "llama-sharded-bf16",
    ];

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Dense_logits_are_those_of_the_reference(string fixture) => DenseLogits(fixture);

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Masked_logits_are_those_of_the_reference(string fixture) => MaskedLogits(fixture, NormOrder.NormThenSelect);

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Masked_logits_with_selection_first_are_those_of_the_reference(string fixture) => MaskedLogits(fixture, NormOrder.SelectThenNorm);

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Greedy_continuation_is_that_of_the_reference(string fixture) => GreedyContinuation(fixture, masked: false);

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Masked_greedy_continuation_is_that_of_the_reference(string fixture) => GreedyContinuation(fixture, masked: true);

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Parameters_are_counted_as_in_the_reference(string fixture) => ParameterCounts(fixture);

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Pruned_equals_masked(string fixture) => PrunedEqualsMasked(fixture, NormOrder.NormThenSelect);

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Pruned_equals_masked_with_selection_first(string fixture) => PrunedEqualsMasked(fixture, NormOrder.SelectThenNorm);

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_plan_that_keeps_everything_changes_nothing(string fixture) => KeepingEverythingChangesNothing(fixture);

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void A_missing_extra_or_misshapen_tensor_is_named(string fixture) => BrokenTensorsAreNamed(fixture);
}
