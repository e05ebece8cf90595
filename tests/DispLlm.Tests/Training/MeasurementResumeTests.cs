namespace DispLlm.Tests.Training;

/// <summary>Measuring and sampling that are stopped after any sequence or batch, and begun again, end with the same result.</summary>
public sealed class MeasurementResumeTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string, int, PruningLayout> Stops
    {
        get
        {
            var stops = new TheoryData<string, int, PruningLayout>();
            foreach (int stop in (int[])[1, 3, 4, 5, 8, 11, 12])
            {
                stops.Add("fisher", stop, PruningLayout.Paper);
            }

            foreach (int stop in (int[])[1, 6, 7])
            {
                stops.Add("first-order", stop, PruningLayout.Paper);
                stops.Add("activation-magnitude", stop, PruningLayout.Paper);
                stops.Add("hypernetwork", stop, PruningLayout.Paper);
            }

            // In a later round, which follows from what an earlier one kept.
            foreach (var layout in Enum.GetValues<PruningLayout>().Where(layout => layout != PruningLayout.Paper))
            {
                stops.Add("fisher", 5, layout);
            }

            return stops;
        }
    }

    [Theory]
    [MemberData(nameof(Stops))]
    public async Task A_measurement_resumes_after_the_last_sequence_to_the_same_bytes(string strategy, int stop, PruningLayout layout)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        PruningPipeline Run() => MeasurementResumeTests.Run(model, strategy).WithLayout(layout);
        byte[] whole = Bytes(await Run().RunAsync(TestContext.Current.CancellationToken));
        var stopping = new Measured(report => report.Step == stop);
        await Assert.ThrowsAsync<InvalidTimeZoneException>(() =>
            Run().WithRunDirectory(_folder.Path).WithProgress(stopping).RunAsync());

        var seen = new Measured();
        var result = await Run().WithRunDirectory(_folder.Path).WithProgress(seen)
            .RunAsync(TestContext.Current.CancellationToken);
        Assert.Equal(whole, Bytes(result));
        Assert.Equal(Enumerable.Range(stop + 1, stopping.Seen[0].Steps - stop), seen.Seen.Select(report => report.Step));
        Assert.All(
            seen.Seen, report => Assert.True(report.Elapsed > stopping.Seen[^1].Elapsed, $"{report.Elapsed} forgets the time before."));
    }

    [Fact]
    public async Task A_measurement_of_another_run_is_refused_with_what_differs()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        await Run(model, "fisher").WithRunDirectory(_folder.Path).RunAsync(TestContext.Current.CancellationToken);
        var error = await Assert.ThrowsAsync<CheckpointException>(() =>
            Run(model, "fisher").WithSeed(1).WithRunDirectory(_folder.Path).RunAsync());
        Assert.Contains("seed is 1 here and 0 there", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Sampled_text_is_kept_batch_by_batch_and_not_sampled_again()
    {
        using var model = PrunableModel.Load(SampleModel.Folder);
        string file = _folder.Below("text.safetensors");
        int[] Sample(long seed, Action<double>? report, CancellationToken cancellation = default) =>
            TokenCorpus.GeneratedByModel(new GeneratedCorpusOptions { Tokens = 100, SequenceLength = 8, BatchSize = 4, Seed = seed })
                .Tokenize(
                    CorpusContext.For(model) with
                    {
                        SampleFile = report is null ? null : file,
                        Progress = report is null ? null : new Callback<double>(report),
                    },
                    cancellation);

        int[] whole = Sample(2, null);
        Assert.Equal(100, whole.Length);
        using var cancellation = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => Sample(
            2,
            done =>
            {
                if (done > 0.7)
                {
                    cancellation.Cancel();
                }
            },
            cancellation.Token));

        // Two of the four batches, of 4, 4, 4 and 1 texts, were complete.
        var seen = new List<double>();
        Assert.Equal(whole, Sample(2, seen.Add));
        Assert.InRange(seen[0], 8 / 13.0, 0.7);
        Assert.Equal(1, seen[^1]);

        seen.Clear();
        Assert.Equal(whole, Sample(2, seen.Add));
        Assert.Empty(seen);
        var error = Assert.Throws<CheckpointException>(() => Sample(3, seen.Add));
        Assert.Contains("text.seed is 3 here and 2 there", error.Message, StringComparison.Ordinal);
        Assert.Empty(seen);

        await Assert.ThrowsAsync<CheckpointException>(() => PruningPipeline.For(model).WithPruningRatio(0.4)
            .WithCalibration(TokenCorpus.GeneratedByModel(new GeneratedCorpusOptions { Tokens = 64, SequenceLength = 8 }))
            .WithStrategy(new ActivationMagnitudeSelection { SequenceLength = 8 }).WithRunDirectory(_folder.Path).RunAsync());
    }

    private static PruningPipeline Run(IPrunableModel model, string name)
    {
        ScoreStrategy strategy = name switch
        {
            "fisher" => new FisherSelection { Rounds = 3, SequencesPerRound = 4, SequenceLength = 32 },
            "first-order" => new FirstOrderSelection { Sequences = 7, SequenceLength = 32 },
            "hypernetwork" => new HypernetworkSelection
            {
                Steps = 2,
                SequenceLength = 32,
                InitialScores = new FisherSelection { Rounds = 2, SequencesPerRound = 4, SequenceLength = 32 },
            },
            _ => new ActivationMagnitudeSelection { Sequences = 7, SequenceLength = 32 },
        };
        Assert.Equal(name, strategy.Name);
        return PruningPipeline.For(model)
            .WithPruningRatio(0.4)
            .WithCalibration(TokenCorpus.FromTokens([.. Enumerable.Range(0, 1000).Select(i => 3 + i * i % 61)]))
            .WithStrategy(strategy);
    }

    private byte[] Bytes(PruningResult result)
    {
        string path = _folder.Below("compared.json");
        result.Plan.Save(path);
        return File.ReadAllBytes(path);
    }

    /// <summary>The measured sequences; one of them stops the run as nothing foresees.</summary>
    private sealed class Measured(Func<PruningProgress, bool>? stops = null) : IProgress<PruningProgress>
    {
        public List<PruningProgress> Seen { get; } = [];

        public void Report(PruningProgress value)
        {
            if (value.Phase != PruningPhase.Measuring)
            {
                return;
            }

            Seen.Add(value);
            if (stops?.Invoke(value) == true)
            {
                throw new InvalidTimeZoneException();
            }
        }
    }
}
