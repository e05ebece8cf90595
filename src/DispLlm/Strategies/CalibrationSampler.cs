namespace DispLlm.Training;

/// <summary>The calibration text of a request, cut into windows for strategies that look at one window at a time.</summary>
internal static class CalibrationSampler
{
    public static int DefaultLength(DecoderSpec spec) => Math.Min(2048, spec.MaxPositions);

    public static int[] Tokens(SelectionRequest request, string strategy, CancellationToken cancellation)
    {
        var corpus = request.Calibration ?? throw new ArgumentException(
            $"The {strategy} strategy looks at text: give it a calibration corpus, or TokenCorpus.SampledFromModel.", nameof(request));
        return corpus.Tokenize(CorpusContext.For(request.Model), cancellation);
    }

    public static SequenceSampler Create(SelectionRequest request, string strategy, int? windowLength, CancellationToken cancellation) => new(
        Tokens(request, strategy, cancellation), windowLength ?? DefaultLength(request.Model.Spec), 1, request.Model.Backend.Random(request.Seed));
}
