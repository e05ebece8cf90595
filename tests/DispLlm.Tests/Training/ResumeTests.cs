using System.Diagnostics;
using System.Text.Json;
using Microsoft.Extensions.Logging;

namespace DispLlm.Tests.Training;

/// <summary>A run that is stopped, in any way and at any moment, and run again ends with the same result.</summary>
public sealed class ResumeTests : IDisposable
{
    private const string FolderVariable = "DISPLLM_TEST_RUN_FOLDER";
    private const string StepsVariable = "DISPLLM_TEST_RUN_STEPS";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string, PruningLayout> Stops
    {
        get
        {
            var stops = new TheoryData<string, PruningLayout>
            {
                { "cancelled before the first save", PruningLayout.Paper },
                { "stopped by an exception of its progress", PruningLayout.Paper },
            };
            foreach (var layout in Enum.GetValues<PruningLayout>())
            {
                stops.Add("cancelled", layout);
            }

            return stops;
        }
    }

    [Theory]
    [MemberData(nameof(Stops))]
    public async Task Resume_after_a_stop_gives_the_same_bytes(string how, PruningLayout layout)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        PruningPipeline Run() => ResumeTests.Run(model).WithLayout(layout);
        byte[] whole = Bytes(await Run().RunAsync(TestContext.Current.CancellationToken));

        using var cancellation = new CancellationTokenSource();
        int last = how == "cancelled before the first save" ? 1 : 8;
        var listener = new Steps(report =>
        {
            if (report.Step == last)
            {
                if (how == "stopped by an exception of its progress")
                {
                    throw new InvalidTimeZoneException();
                }

                cancellation.Cancel();
            }
        });
        await Assert.ThrowsAnyAsync<Exception>(() =>
            Run().WithRunDirectory(_folder.Path, 3).WithProgress(listener).RunAsync(cancellation.Token));

        var seen = new Steps();
        var result = await Run().WithRunDirectory(_folder.Path, 3).WithProgress(seen).RunAsync(TestContext.Current.CancellationToken);
        Assert.Equal(whole, Bytes(result));
        Assert.True(seen.Seen[0].Step > 1 || last == 1, $"It started at step {seen.Seen[0].Step}.");
        Assert.Equal(Enumerable.Range(1, 12), result.History.Select(report => report.Step));
        Assert.Equal(Enumerable.Range(1, 12), Log().Select(line => line.GetProperty("step").GetInt32()));
    }

    [Fact]
    public async Task A_finished_run_is_not_run_again()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var first = await Run(model).WithRunDirectory(_folder.Path).RunAsync(TestContext.Current.CancellationToken);
        var seen = new Steps();
        var second = await Run(model).WithRunDirectory(_folder.Path).WithProgress(seen).RunAsync(TestContext.Current.CancellationToken);
        Assert.Empty(seen.Seen);
        Assert.Equal(Bytes(first), Bytes(second));
        Assert.Equal(first.History.Select(report => report.CrossEntropy), second.History.Select(report => report.CrossEntropy));
    }

    [Fact]
    public async Task The_log_holds_the_figures_of_every_step()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var result = await Run(model).WithRunDirectory(_folder.Path).RunAsync(TestContext.Current.CancellationToken);
        foreach (var (line, report) in Log().Zip(result.History))
        {
            Assert.Equal(report.CrossEntropy, line.GetProperty("cross_entropy").GetDouble());
            Assert.Equal(report.BudgetLoss, line.GetProperty("budget_loss").GetDouble());
            Assert.Equal(report.KeptFraction, line.GetProperty("kept").GetDouble());
            Assert.Equal(report.GradientNorm, line.GetProperty("gradient_norm").GetDouble());
            Assert.Equal(64 * report.Step, line.GetProperty("tokens").GetInt64());
            Assert.Equal(report.Elapsed.TotalSeconds, line.GetProperty("seconds").GetDouble(), 1e-6);
        }
    }

    public static TheoryData<string, string> Strangers => new()
    {
        { "settings.LearningRate", "0.004" }, { "settings.InitialScores.Rounds", "2" }, { "budget", "0.6" }, { "seed", "1" },
            { "norm_order", "SelectThenNorm" },
        { "text.ids", "here" }, { "model.weights", "here" }, { "width_multiple", "4" }, { "layout", "Blocks" },
    };

    [Theory]
    [MemberData(nameof(Strangers))]
    public async Task The_state_of_another_run_is_refused_with_what_differs(string key, string here)
    {
        using (var model = PrunableModel.Load(Fixture.GetFolder("llama-mha")))
        {
            await Run(model, Quick with { InitialScores = new FisherSelection { Rounds = 1, SequenceLength = 32 } })
                .WithRunDirectory(_folder.Path).RunAsync(TestContext.Current.CancellationToken);
        }

        byte[] state = File.ReadAllBytes(_folder.Below("state.safetensors"));
        using var other = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        if (key == "model.weights")
        {
            // One number of one weight.
            using var noGradient = TorchSharp.torch.no_grad();
            using var number = other.Weight(WeightRole.MlpDown, 1).narrow(0, 3, 1).narrow(1, 4, 1);
            number.fill_(0.25f);
        }

        var strategy = Quick with
        {
            InitialScores = new FisherSelection
            {
                Rounds = key.EndsWith("Rounds", StringComparison.Ordinal) ? 2
            : 1,
                SequenceLength = 32
            }
        };
        var run = Run(other, key == "settings.LearningRate" ? strategy with { Options = strategy.Options with { LearningRate = 0.004 } }
            : strategy).WithRunDirectory(_folder.Path);
        run = key switch
        {
            "budget" => run.WithPruningRatio(0.6),
            "seed" => run.WithSeed(1),
            "norm_order" => run.WithNormOrder(NormOrder.SelectThenNorm),
            "text.ids" => run.WithCalibration(TokenCorpus.FromTokens([.. Enumerable.Range(0, 1000).Select(i => 4 + i * i % 59)])),
            "width_multiple" => run.WithWidthMultiple(4),
            "layout" => run.WithLayout(PruningLayout.Blocks),
            _ => run,
        };
        var error = await Assert.ThrowsAsync<CheckpointException>(() => run.RunAsync(TestContext.Current.CancellationToken));
        Assert.Contains(key, error.Message, StringComparison.Ordinal);
        Assert.Contains(here, error.Message, StringComparison.Ordinal);
        Assert.Equal(state, File.ReadAllBytes(_folder.Below("state.safetensors")));
    }

    [Fact]
    public async Task A_folder_that_cannot_be_written_or_is_in_use_or_holds_something_else_is_refused_before_learning()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var seen = new Steps();
        string file = _folder.Below("file");
        await File.WriteAllTextAsync(file, "x", TestContext.Current.CancellationToken);
        await Assert.ThrowsAsync<CheckpointException>(() =>
            Run(model).WithRunDirectory(Path.Combine(file, "run")).WithProgress(seen).RunAsync());

        string used = _folder.Below("used");
        Exception? refused = null;
        var meanwhile = new Steps(report => refused = report.Step == 2
            ? Record.Exception(() => Run(model).WithRunDirectory(used).WithProgress(seen).RunAsync().GetAwaiter().GetResult())
            : refused);
        await Run(model).WithRunDirectory(used).WithProgress(meanwhile).RunAsync(TestContext.Current.CancellationToken);
        Assert.Contains("another run", Assert.IsType<CheckpointException>(refused).Message, StringComparison.Ordinal);

        string weights = _folder.Below("weights");
        Directory.CreateDirectory(weights);
        File.Copy(Path.Combine(Fixture.GetFolder("llama-mha"), "model.safetensors"), Path.Combine(weights, "state.safetensors"));
        Assert.Contains(
            "no state of a run",
            (await Assert.ThrowsAsync<CheckpointException>(() =>
                Run(model).WithRunDirectory(weights).WithProgress(seen).RunAsync())).Message,
            StringComparison.Ordinal);

        string torn = _folder.Below("torn");
        Directory.CreateDirectory(torn);
        await File.WriteAllBytesAsync(Path.Combine(torn, "state.safetensors"), new byte[5], TestContext.Current.CancellationToken);
        await Assert.ThrowsAsync<CheckpointException>(() => Run(model).WithRunDirectory(torn).WithProgress(seen).RunAsync());
        Assert.Empty(seen.Seen);
    }

    [Fact]
    public async Task A_run_whose_folder_is_deleted_warns_and_continues()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        byte[] whole = Bytes(await Run(model).RunAsync(TestContext.Current.CancellationToken));
        string folder = _folder.Below("run");
        var warnings = new Warnings();
        var listener = new Steps(report =>
        {
            if (report.Step == 4)
            {
                Directory.Delete(folder, recursive: true);
            }
        });
        var result = await Run(model).WithRunDirectory(folder,
            3).WithProgress(listener).WithLogger(warnings).RunAsync(TestContext.Current.CancellationToken);
        Assert.Equal(whole, Bytes(result));
        Assert.Single(warnings.Seen, text => text.Contains("cannot be saved at present", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_truncated_log_is_cut_back_and_the_plan_is_the_same()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var first = await Run(model).WithRunDirectory(_folder.Path).RunAsync(TestContext.Current.CancellationToken);
        string log = _folder.Below("steps.jsonl");
        byte[] lines = File.ReadAllBytes(log);
        File.WriteAllBytes(log, lines[..(lines.Length / 2)]);
        var warnings = new Warnings();
        var second = await Run(model).WithRunDirectory(_folder.Path).WithLogger(warnings).RunAsync(TestContext.Current.CancellationToken);
        Assert.Equal(Bytes(first), Bytes(second));
        Assert.InRange(second.History.Count, 1, 11);
        Assert.Contains(warnings.Seen, text => text.Contains("of the 12 steps", StringComparison.Ordinal));
    }

    [Fact]
    public Task Killed_twice_it_ends_with_the_same_bytes() => EndsWithTheSameBytesAsync(kills: 2, steps: 60);

    [Fact]
    [Trait("Category", "Slow")]
    public Task Killed_twenty_times_it_ends_with_the_same_bytes() => EndsWithTheSameBytesAsync(kills: 20, steps: 400);

    /// <summary>Kills a child process at random moments: while it loads, while it learns, while it saves.</summary>
    private async Task EndsWithTheSameBytesAsync(int kills, int steps)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        byte[] whole = Bytes(await Run(model, Quick with { Steps = steps }).RunAsync(TestContext.Current.CancellationToken));
        var random = new Random(20);
        var reached = new List<long>();
        string state = _folder.Below("state.safetensors"), plan = _folder.Below("plan.json"), log = _folder.Below("steps.jsonl");
        for (int kill = 0; kill < kills; kill++)
        {
            using var child = Start(_folder.Path, steps);
            long before = File.Exists(log) ? new FileInfo(log).Length : 0;
            if (kill % 4 == 3)
            {
                await Task.Delay(random.Next(0, 900), TestContext.Current.CancellationToken);
            }
            else
            {
                // Some way into its learning, by the log; then at any moment.
                long target = before + random.Next(200, 150 * steps / kills);
                var limit = Stopwatch.StartNew();
                while (!child.HasExited && (!File.Exists(log) || new FileInfo(log).Length < target)
                    && limit.Elapsed < TimeSpan.FromSeconds(20))
                {
                    await Task.Delay(1, TestContext.Current.CancellationToken);
                }

                await Task.Delay(random.Next(0, 15), TestContext.Current.CancellationToken);
            }

            Assert.False(child.HasExited, $"Kill {kill}: the run was over before it could be killed.");
            child.Kill();
            await child.WaitForExitAsync(TestContext.Current.CancellationToken);
            reached.Add(File.Exists(state) ? ReadStep(state) : -1);
        }

        Assert.False(File.Exists(plan));
        Assert.Equal(reached.Order(), reached);
        Assert.True(reached.Distinct().Count() > kills / 2, $"It hardly resumed: {string.Join(", ", reached)}");
        using (var child = Start(_folder.Path, steps))
        {
            await child.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromMinutes(10),
                TestContext.Current.CancellationToken);
            Assert.Equal(0, child.ExitCode);
        }

        Assert.Equal(whole, File.ReadAllBytes(plan));
        Assert.Equal(Enumerable.Range(1, steps), Log().Select(line => line.GetProperty("step").GetInt32()));
    }

    /// <summary>What the child of the test above runs.</summary>
    [Fact(Explicit = true)]
    public async Task The_run_that_is_killed()
    {
        string folder =
            Environment.GetEnvironmentVariable(FolderVariable) ?? throw new InvalidOperationException($"{FolderVariable} is not set.");
        int steps = int.Parse(Environment.GetEnvironmentVariable(StepsVariable)!, System.Globalization.CultureInfo.InvariantCulture);
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        var result = await Run(model, Quick with { Steps = steps }).WithRunDirectory(folder, 2).RunAsync();
        result.Plan.Save(Path.Combine(folder, "plan.json"));
    }

    private static HypernetworkSelection Quick =>
        new()
        {
            Steps = 12,
            SequenceLength = 32,
            BatchSize = 2,
            InitialScores = new FisherSelection { Rounds = 1, SequencesPerRound = 2, SequenceLength = 32 }
        };

    private static PruningPipeline Run(IPrunableModel model, HypernetworkSelection? strategy = null) => PruningPipeline.For(model)
        .WithPruningRatio(0.4)
        .WithCalibration(TokenCorpus.FromTokens([.. Enumerable.Range(0, 1000).Select(i => 3 + i * i % 61)]))
        .WithStrategy(strategy ?? Quick);

    private static Process Start(string folder, int steps)
    {
        string program = Path.ChangeExtension(typeof(ResumeTests).Assembly.Location, null);
        string test = $"{typeof(ResumeTests).FullName}.{nameof(The_run_that_is_killed)}";
        var start = new ProcessStartInfo(program,
            ["-explicit", "on", "-method", test, "-noLogo", "-noColor"])
        { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment[FolderVariable] = folder;
        start.Environment[StepsVariable] = steps.ToString(System.Globalization.CultureInfo.InvariantCulture);
        var process = Process.Start(start)!;

        // Its output is not used, but a full pipe would stop it.
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private static long ReadStep(string state)
    {
        using var file = SafetensorsFile.Open(state);
        return long.Parse(file.Metadata["step"], System.Globalization.CultureInfo.InvariantCulture);
    }

    private byte[] Bytes(PruningResult result)
    {
        string path = _folder.Below("compared.json");
        result.Plan.Save(path);
        return File.ReadAllBytes(path);
    }

    private JsonElement[] Log() => [.. File.ReadLines(_folder.Below("steps.jsonl")).Select(line => JsonDocument.Parse(line).RootElement)];

    private sealed class Warnings : ILogger
    {
        public List<string> Seen { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?,
            string> formatter)
        {
            if (logLevel == LogLevel.Warning)
            {
                Seen.Add(formatter(state, exception));
            }
        }
    }
}
