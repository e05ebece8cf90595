namespace DispLlm.Training;

/// <summary>The calibration text of a request, split into sequences for strategies that look at one at a time.</summary>
internal static class CalibrationSampler
{
    public static int DefaultLength(DecoderSpec spec) => Math.Min(2048, spec.MaxPositions);

    public static int[] Tokens(SelectionRequest request, string strategy, CancellationToken cancellation)
    {
        var corpus = request.Calibration ?? throw new ArgumentException(
            $"The {strategy} strategy needs text: give it a calibration corpus, or "
                + $"{nameof(TokenCorpus)}.{nameof(TokenCorpus.GeneratedByModel)}().", nameof(request));
        var context = CorpusContext.For(request.Model) with { SampleFile = request.RunDirectory?.TextFile, Logger = request.Logger };
        return corpus.Tokenize(context, cancellation);
    }

    /// <summary>Sequences one at a time.</summary>
    public static SequenceSampler Create(SelectionRequest request, int[] tokens, int? sequenceLength) =>
        new(tokens, sequenceLength ?? DefaultLength(request.Model.Spec), 1, request.Model.Backend.Random(request.Seed));
}
