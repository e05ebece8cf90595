using System.Diagnostics;
using System.Globalization;
using DispLlm.Evaluation;
using TorchSharp;

namespace DispLlm.Experiments;

/// <summary>
/// The layouts side by side: what each costs on texts and tasks, and what it gains in speed, parameters and cache. Every figure stands
/// beside the dense model's.
/// </summary>
internal sealed class LayoutTables : IDisposable
{
    private readonly Settings _settings;
    private readonly TextWriter _output;
    private readonly PrunableModel _model;
    private readonly TextTokenizer _tokenizer;
    private readonly SelectionCache? _cache;
    private readonly Lazy<TokenCorpus> _calibration;
    private readonly (string Name, int[] Tokens)[] _texts;
    private readonly ZeroShotTask[] _tasks;

    public LayoutTables(Settings settings, TextWriter output)
    {
        (_settings, _output) = (settings, output);
        _model = PrunableModel.Load(settings.Model, TorchBackend.Auto(settings.Type));
        var context = CorpusContext.For(_model);
        _tokenizer = context.Tokenizer!;
        _cache = settings.CacheFolder is { } folder ? new SelectionCache(folder, settings) : null;
        _calibration = new Lazy<TokenCorpus>(() => Mix(context));
        _texts = [.. settings.Heldout.Split(',').Select(file =>
            (Path.GetFileName(file), TokenCorpus.FromTextFile(file).Tokenize(context)))];
        _tasks = [.. settings.Tasks.Select(file => ZeroShotTask.FromFile(
            Path.GetFileNameWithoutExtension(file).Replace('-', '_'), file))];
    }

    public void Dispose() => _model.Dispose();

    /// <summary>Perplexities and accuracies of every layout.</summary>
    public void PrintQuality()
    {
        _output.WriteLine(Conditions() + "\n");
        _output.WriteLine($"| layout | kept | of all | groups | {string.Join(" | ", _texts.Select(text => text.Name))} | mean ratio | "
            + $"{string.Join(" | ", _tasks.Select(task => task.Name))} | seconds |");
        _output.WriteLine("|" + string.Concat(Enumerable.Repeat("---|", 6 + _texts.Length + _tasks.Length)));
        var dense = Evaluate(_model);
        WriteRow("dense", SelectionPlan.Dense(_model.Spec), [dense], dense, 0);
        foreach (double keep in _settings.Keep)
        {
            foreach (var layout in Layouts())
            {
                var clock = Stopwatch.StartNew();
                var plans = Enumerable.Range(_settings.FirstSeed, _settings.Seeds).Select(seed => Select(layout, keep, seed)).ToArray();
                double seconds = clock.Elapsed.TotalSeconds / plans.Length;
                var scores = plans.Select(plan =>
                {
                    using var pruned = _model.Prune(plan);
                    return Evaluate(pruned);
                }).ToArray();
                WriteRow(layout.ToString(), plans[0], scores, dense, seconds);
            }
        }
    }

    /// <summary>Prefill and decode speed, parameters and cache of every layout, in turns with the dense model.</summary>
    public void PrintSpeed()
    {
        _output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{_settings.Type}, {torch.get_num_threads()} threads; batch 1; medians of {_settings.Rounds} rounds in which the models take "
                + $"turns; ratios to the dense model. `bytes` is weights and cache together at that context.\n"));
        _output.WriteLine("| layout | kept | context | prefill | decode | cache | bytes | decode x bytes |");
        _output.WriteLine("|" + string.Concat(Enumerable.Repeat("---|", 8)));
        foreach (double keep in _settings.Keep)
        {
            var layouts = Layouts().ToArray();
            PrunableModel[] models = [_model, .. layouts.Select(layout => _model.Prune(Select(layout, keep, _settings.FirstSeed)))];
            foreach (int context in _settings.Contexts)
            {
                var speeds = Measure(models, context);
                for (int i = 1; i < models.Length; i++)
                {
                    double bytes = Bytes(models[i], context) / Bytes(_model, context);
                    double prefill = speeds[0].Prefill / speeds[i].Prefill, decode = speeds[0].Decode / speeds[i].Decode;
                    double cache = (double)models[i].CacheBytesPerToken / _model.CacheBytesPerToken;
                    _output.WriteLine(string.Create(
                        CultureInfo.InvariantCulture,
                        $"| {layouts[i - 1]} | {keep:P0} | {context} | {prefill:F2} | {decode:F2} | {cache:P0} | {bytes:P0} | "
                            + $"{decode * bytes:F2} |"));
                }
            }

            foreach (var pruned in models.Skip(1))
            {
                pruned.Dispose();
            }
        }
    }

    private sealed record Scores(double[] Perplexities, double[] Accuracies);

    private IEnumerable<PruningLayout> Layouts() => Enum.GetValues<PruningLayout>()
        .Where(layout => layout.ToString().Contains(_settings.Only, StringComparison.OrdinalIgnoreCase));

    private string Conditions() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Path.GetFileName(Path.TrimEndingDirectorySeparator(_settings.Model))}, {_settings.Type}; {_settings.Steps[0]} steps of one "
            + $"sequence of {_settings.Window} tokens; calibrated on "
            + $"{string.Join(", ", _settings.Calibration.Split(',').Select(file => $"`{Path.GetFileName(file)}`"))} "
            + $"({_settings.Characters} characters of each) and {_settings.Samples} tokens of own samples; "
            + $"perplexity of the first {_settings.HeldoutWindows} windows of {_settings.Window} tokens of each text; the first "
            + $"{_settings.TaskItems} items of each task. Seeds {_settings.FirstSeed} to {_settings.FirstSeed + _settings.Seeds - 1}: the "
            + $"mean, and each in parentheses.");

    private TokenCorpus Mix(CorpusContext context)
    {
        var tokens = new List<int>();
        foreach (string file in _settings.Calibration.Split(','))
        {
            string text = File.ReadAllText(file);
            tokens.AddRange(_tokenizer.Encode(text[..Math.Min(text.Length, _settings.Characters)]));
        }

        if (_settings.Samples > 0)
        {
            var samples = new GeneratedCorpusOptions { Tokens = _settings.Samples, Temperature = 0.8 };
            string? file = _settings.CacheFolder is { } folder ? Path.Combine(folder, $"samples-{_settings.Samples}.safetensors") : null;
            tokens.AddRange(TokenCorpus.GeneratedByModel(samples).Tokenize(context with { SampleFile = file }));
        }

        return TokenCorpus.FromTokens(tokens);
    }

    private SelectionPlan Select(PruningLayout layout, double keep, long seed)
    {
        var strategy = new HypernetworkSelection { Steps = _settings.Steps[0], SequenceLength = _settings.Window };
        if (_cache?.Find(strategy, layout, keep, seed, _model.GateLayout) is { } before)
        {
            return before.Plan;
        }

        var outcome = strategy.SelectAsync(new SelectionRequest
        {
            Model = _model,
            Budget = PruningBudget.FromKeepFraction(keep),
            Calibration = _calibration.Value,
            Layout = layout,
            Seed = seed,
        }).GetAwaiter().GetResult();
        _cache?.Save(strategy, layout, keep, seed, outcome);
        return outcome.Plan;
    }

    private Scores Evaluate(PrunableModel model)
    {
        string key = $"{model.Plan?.ToJson()} | {_settings.Heldout} | {_settings.HeldoutWindows} | {_settings.Window} | "
            + $"{string.Join(',', _settings.Tasks)} | {_settings.TaskItems} | {_settings.Type}";
        if (_cache?.FindFigures(key) is { } before)
        {
            return new Scores(before[.._texts.Length], before[_texts.Length..]);
        }

        var scores = Measure(model);
        _cache?.SaveFigures(key, [.. scores.Perplexities, .. scores.Accuracies]);
        return scores;
    }

    private Scores Measure(PrunableModel model)
    {
        var options = new PerplexityOptions { WindowLength = _settings.Window, MaxWindows = _settings.HeldoutWindows };
        var tasks = new ZeroShotOptions { MaxItems = _settings.TaskItems };
        return new Scores(
            [.. _texts.Select(text => Perplexity.Evaluate(model, text.Tokens, options, null).Perplexity)],
            [.. _tasks.Select(task => Accuracy(ZeroShot.Evaluate(model, _tokenizer, task, tasks)))]);
    }

    // As published: normalized by length where the task has that.
    private static double Accuracy(ZeroShotScore score) => score.NormalizedAccuracy ?? score.Accuracy;

    private void WriteRow(string name, SelectionPlan plan, Scores[] scores, Scores dense, double seconds)
    {
        double Ratio(Scores score) => Math.Exp(
            score.Perplexities.Zip(dense.Perplexities, (after, before) => Math.Log(after / before)).Average());
        string Columns(Func<Scores, double[]> values, int count, Func<double[], string> format) => string.Join(
            " | ", Enumerable.Range(0, count).Select(column => format([.. scores.Select(score => values(score)[column])])));
        int groups = plan.Blocks.Sum(block => block.AttentionGroups.Count);
        _output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {name} | {plan.KeptFraction():P2} | {plan.KeptFraction(ParameterScope.WholeModel):P1} | {groups} | "
                + $"{Columns(score => score.Perplexities, _texts.Length, Experiment.Format)} | "
                + $"{Format([.. scores.Select(Ratio)], "F2")} | "
                + $"{Columns(score => score.Accuracies, _tasks.Length, values => Format(values, "P1"))} | {seconds:F0} |"));
        _output.Flush();
    }

    private static string Format(double[] values, string format)
    {
        string Text(double value) => value.ToString(format, CultureInfo.InvariantCulture);
        return values.Length == 1 ? Text(values[0]) : $"{Text(values.Average())} ({string.Join(", ", values.Select(Text))})";
    }

    /// <summary>The median seconds of a prefill, and of the decode steps after it.</summary>
    private (double Prefill, double Decode)[] Measure(PrunableModel[] models, int context)
    {
        const int NewTokens = 16;
        var measured = models.Select(_ => new List<(double Prefill, double Decode)>()).ToArray();
        using var noGradient = torch.no_grad();
        for (int round = -1; round < _settings.Rounds; round++)
        {
            for (int i = 0; i < models.Length; i++)
            {
                using var scope = torch.NewDisposeScope();
                using var cache = models[i].CreateKeyValueCache();
                var tokens = (torch.arange(context, torch.ScalarType.Int64) % _model.Spec.VocabularySize).view(1, context);
                var one = tokens.narrow(1, 0, 1);
                double prefill = Seconds(() => models[i].NextTokenLogits(tokens, cache));
                models[i].NextTokenLogits(one, cache);
                double decode = Seconds(() => Enumerable.Range(0, NewTokens).Select(_ => models[i].NextTokenLogits(one, cache)).Last());
                if (round >= 0)
                {
                    measured[i].Add((prefill, decode));
                }
            }
        }

        static double Median(IEnumerable<double> values) => values.Order().ElementAt(values.Count() / 2);
        return
        [
            .. measured.Select(rounds => (
                Median(rounds.Select(round => round.Prefill)), Median(rounds.Select(round => round.Decode)))),
        ];
    }

    private static double Seconds(Func<torch.Tensor> work)
    {
        long start = Stopwatch.GetTimestamp();
        _ = work().amax([]).ToDouble();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private double Bytes(PrunableModel model, int context) =>
        ((model.Plan?.KeptParameters ?? new ParameterCounter(model.Spec).Dense).WholeModel * ElementSize)
        + (model.CacheBytesPerToken * context);

    private long ElementSize => _settings.Type == torch.ScalarType.Float32 ? 4 : 2;
}
