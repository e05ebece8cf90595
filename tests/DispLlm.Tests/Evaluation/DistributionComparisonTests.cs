using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Evaluation;

public sealed class DistributionComparisonTests : IDisposable
{
    private readonly PrunableModel _model = PrunableModel.Load(SampleModel.Folder);

    public void Dispose() => _model.Dispose();

    [Fact]
    public void A_model_agrees_with_itself()
    {
        var score = DistributionComparison.Evaluate(
            _model, _model, Ids(200), new PerplexityOptions { WindowLength = 64, MaxWindows = 3 }, null);
        Assert.Equal(0, score.KlDivergence, 1e-6);
        Assert.Equal(1, score.Top1Agreement);
        Assert.Equal(3 * 63, score.Tokens);
    }

    [Fact]
    public void Divergence_and_agreement_match_their_definitions()
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        var gates = Gates.FromPlan(new RandomSelection().Select(
            new SelectionRequest { Model = _model, Budget = PruningBudget.FromRatio(0.3) }).Plan, _model.Backend);
        int[] tokens = Ids(200);
        var seen = new List<double>();
        var score = DistributionComparison.Evaluate(
            _model, _model, tokens, new PerplexityOptions { WindowLength = 50, BatchSize = 3 }, gates, new Callback<double>(seen.Add));

        Tensor windows = tensor(tokens.Select(id => (long)id).ToArray(), ScalarType.Int64).view(4, 50).narrow(1, 0, 49);
        Tensor expected = _model.Logits(windows).log_softmax(-1).to(ScalarType.Float64),
            actual = _model.Logits(windows, gates).log_softmax(-1).to(ScalarType.Float64);
        Assert.Equal((expected.exp() * (expected - actual)).sum(-1).mean().ToDouble(), score.KlDivergence, 1e-4);
        Assert.Equal(expected.argmax(-1).eq(actual.argmax(-1)).to(ScalarType.Float64).mean().ToDouble(), score.Top1Agreement, 1e-12);
        Assert.InRange(score.Top1Agreement, 0.01, 0.99);
        Assert.Equal([0.75, 1], seen);
    }

    [Fact]
    public void A_model_that_keeps_more_agrees_more()
    {
        DistributionComparisonResult Under(double ratio)
        {
            var plan = new MagnitudeSelection().Select(
                new SelectionRequest { Model = _model, Budget = PruningBudget.FromRatio(ratio) }).Plan;
            using var gates = Gates.FromPlan(plan, _model.Backend);
            return DistributionComparison.Evaluate(_model, _model, Ids(128), new PerplexityOptions { WindowLength = 64 }, gates);
        }

        var (little, half) = (Under(0.02), Under(0.5));
        Assert.True(little.KlDivergence < half.KlDivergence && little.Top1Agreement > half.Top1Agreement, $"{little} against {half}");
    }

    [Fact]
    public void Different_vocabularies_are_refused_and_cancellation_is_honoured()
    {
        using var other = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var error = Assert.Throws<EvaluationException>(
            () => DistributionComparison.Evaluate(other, _model, [1, 2, 3, 4], new PerplexityOptions { WindowLength = 2 }, null));
        Assert.Contains($"{other.Spec.VocabularySize} and {_model.Spec.VocabularySize}", error.Message, StringComparison.Ordinal);
        Assert.Throws<OperationCanceledException>(
            () => DistributionComparison.Evaluate(
                _model, _model, [1, 2, 3, 4], new PerplexityOptions { WindowLength = 2 }, null, null, new CancellationToken(true)));
    }

    private int[] Ids(int count) => [.. Enumerable.Range(0, count).Select(i => i * 331 % _model.Spec.VocabularySize)];
}
