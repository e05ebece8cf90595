using System.Globalization;
using TorchSharp;

namespace DispLlm.Experiments;

/// <summary>Prints the tables of docs/results.md, row by row.</summary>
internal sealed class Tables(Settings settings, TextWriter output)
{
    private static readonly int[] s_textSizes = [131_072, 32_768, 8_192, 2_048];

    private const string Head = "| selection | kept | perplexity | seconds |\n|---|---|---|---|";

    public void Print()
    {
        if (settings.Table == "compute")
        {
            Compute();
            return;
        }

        if (settings.Table.StartsWith("layout", StringComparison.Ordinal))
        {
            using var layouts = new LayoutTables(settings, output);
            (settings.Table == "layouts" ? (Action)layouts.PrintQuality : layouts.PrintSpeed)();
            return;
        }

        using var experiment = new Experiment(settings);
        output.WriteLine(experiment.Conditions() + "\n");
        Action<Experiment> table = settings.Table switch
        {
            "strategies" => Strategies,
            "steps" => Steps,
            "estimators" => Estimators,
            "ablations" => Ablations,
            "ratios" => Ratios,
            "text" => Texts,
            "reconstruction" => Reconstructions,
            "speed" => Speed,
            _ => throw new ArgumentException($"There is no table '{settings.Table}'."),
        };
        table(experiment);
    }

    private HypernetworkSelection Ours(int? steps = null) => new() { Steps = steps ?? settings.Steps[0], SequenceLength = settings.Window };

    private HypernetworkSelection Ours(Func<HypernetworkOptions, HypernetworkOptions> change) =>
        Ours() with { Options = change(Ours().Options) };

    private FisherSelection Fisher(int rounds) => new() { Rounds = rounds, SequenceLength = settings.Window };

    private void Strategies(Experiment experiment)
    {
        output.WriteLine(Head);
        foreach (double keep in settings.Keep)
        {
            Row(experiment, "random", new RandomSelection(), keep);
            Row(experiment, "weight magnitude", new MagnitudeSelection(), keep);
            Row(experiment, "activation-weighted magnitude", new ActivationMagnitudeSelection { SequenceLength = settings.Window }, keep);
            Row(experiment, "first order", new FirstOrderSelection { SequenceLength = settings.Window }, keep);
            Row(experiment, "Fisher, one round", Fisher(1), keep);
            Row(experiment, "Fisher, 8 rounds", Fisher(8), keep);
            Row(experiment, "Fisher, 16 rounds, momentum 0.8", Fisher(16) with { Momentum = 0.8 }, keep);
            foreach (int steps in settings.Steps)
            {
                Row(experiment, $"learned, {steps} steps", Ours(steps), keep);
            }
        }
    }

    private void Steps(Experiment experiment)
    {
        output.WriteLine(Head);
        foreach (double keep in settings.Keep)
        {
            if (settings.Published > 0)
            {
                Reference(experiment, keep);
                Row(
                    experiment, $"paper, {settings.Published} steps",
                    HypernetworkSelection.Paper with { Steps = settings.Published, SequenceLength = settings.Window }, keep);
            }

            foreach (int steps in settings.Started)
            {
                Row(
                    experiment, $"ReinMax from Fisher scores, {steps} steps",
                    Ours(
                        options =>
                            options with
                            {
                                Steps = steps,
                                InitialScoreWeight = 1.5,
                                FinalInverseTemperature = 1,
                                ScaleLearningRate = 0
                            }) with
                    {
                        InitialScores =
                                Fisher(1)
                    },
                    keep);
            }

            foreach (int steps in settings.Steps)
            {
                Row(experiment, $"ours, {steps} steps", Ours(steps), keep);
            }
        }
    }

    /// <summary>The selection of the reference implementation: projected onto the exact budget, and as it samples its masks.</summary>
    private void Reference(Experiment experiment, double keep)
    {
        string name = $"reference implementation, {settings.Published} steps, projected";
        if (!Wanted(name))
        {
            return;
        }

        var reference = HypernetworkSelection.ReferenceImplementation with { Steps = settings.Published, SequenceLength = settings.Window };
        var outcome = experiment.Run(reference, keep, 0);
        output.WriteLine(Line(name, experiment.Perplexity(outcome.Plan), keep));
        var sampled = Experiment.DrawReferenceGates(outcome.Scores, reference, 0);
        double kept = experiment.Kept(sampled);
        output.WriteLine(Line("the same, masks as it samples them", experiment.Evaluate(sampled), kept));
    }

    private void Estimators(Experiment experiment)
    {
        output.WriteLine(Head);
        foreach (double keep in settings.Keep)
        {
            Row(experiment, "ReinMax", Ours(), keep);
            Row(experiment, "straight-through", Ours(options => options with { Estimator = GateEstimator.StraightThrough }), keep);
            Row(
                experiment, "soft Gumbel-sigmoid, tau 0.4",
                Ours(options => options with { Estimator = GateEstimator.GumbelSigmoid, Temperature = 0.4 }), keep);
        }
    }

    private void Ablations(Experiment experiment)
    {
        output.WriteLine(Head);
        foreach (double keep in settings.Keep)
        {
            Row(experiment, "as it is", Ours(), keep);
            Row(
                experiment, "one selection for the whole stream (regular structural pruning)", Ours(), keep, layout: PruningLayout.Stream);
            Row(
                experiment, "no hypernetwork (free logits, learning rate 0.2)",
                Ours(options => options with { LearningRate = 0.2 }) with
                {
                    Ablations = new HypernetworkAblations { Kind = HypernetworkKind.None },
                },
                keep);
            Row(experiment, "no recurrence", Ours() with { Ablations = new HypernetworkAblations { Kind = HypernetworkKind.Mlp } }, keep);
            Row(experiment, "without initial scores", Ours(options => options with { InitialScoreWeight = 0 }), keep);
            Row(experiment, "without sharpening", Ours(options => options with { FinalInverseTemperature = 1 }), keep);
            Row(experiment, "without feature scales", Ours(options => options with { ScaleLearningRate = 0 }), keep);
            Row(experiment, "learning rate constant", Ours(options => options with { MinLearningRateRatio = 1 }), keep);
            Row(experiment, "lambda 6", Ours(options => options with { BudgetLossWeight = 6 }), keep);
            Row(experiment, "budget warm-up over half of the steps", Ours(options => options with { BudgetWarmupFraction = 0.5 }), keep);
            Row(experiment, "distillation weight 0.5", Ours(options => options with { DistillationWeight = 0.5 }), keep);
            Row(experiment, "two sequences per step", Ours(options => options with { GradientAccumulationSteps = 2 }), keep);
            Row(experiment, "initial scores in one round of 16 sequences", Ours() with { InitialScores = Fisher(1) }, keep);
            Row(
                experiment, "initial scores in 4 rounds of 4 sequences",
                Ours() with { InitialScores = Fisher(4) with { SequencesPerRound = 4 } }, keep);
            Row(experiment, "initial scores in 8 rounds of 16 sequences", Ours() with { InitialScores = Fisher(8) }, keep);
        }
    }

    private void Ratios(Experiment experiment)
    {
        output.WriteLine(
            "| kept | run of its own | " + string.Join(" | ", settings.Keep.Select(keep => $"projected from the run at {keep:P0}")) + " |");
        output.WriteLine("|---|---|" + string.Concat(settings.Keep.Select(_ => "---|")));
        var runs = settings.Keep.Select(keep => experiment.Run(Ours(), keep, 0)).ToArray();
        for (int i = 0; i < settings.Keep.Length; i++)
        {
            var budget = PruningBudget.FromKeepFraction(settings.Keep[i]);
            var cells = runs.Select(run => experiment.Perplexity(run.PlanFor(experiment.Model.Spec, budget)));
            output.WriteLine($"| {settings.Keep[i]:P0} | {Experiment.Format([experiment.Perplexity(runs[i].Plan)])} | "
                + string.Join(" | ", cells.Select(cell => Experiment.Format([cell]))) + " |");
        }
    }

    private void Texts(Experiment experiment)
    {
        var context = CorpusContext.For(experiment.Model);
        int[] given = experiment.Text.Tokenize(context);
        int[] generated = TokenCorpus.GeneratedByModel(
            new GeneratedCorpusOptions { Tokens = 32_768, SequenceLength = 256, BatchSize = 32 }).Tokenize(context);
        output.WriteLine(Head);
        foreach (double keep in settings.Keep)
        {
            void Text(string name, IEnumerable<int> tokens) => Row(experiment, name, Ours(), keep, TokenCorpus.FromTokens([.. tokens]));
            Text($"given text, {given.Length:N0} tokens", given);
            foreach (int tokens in s_textSizes.Where(tokens => tokens < given.Length))
            {
                Text($"given text, {tokens:N0} tokens", given.Take(tokens));
            }

            Text("generated by the model, 32,768 tokens", generated);
            Text("generated by the model, 8,192 tokens", generated.Take(8_192));
            Text("16,384 tokens of each", given.Take(16_384).Concat(generated.Take(16_384)));
        }
    }

    private void Reconstructions(Experiment experiment)
    {
        output.WriteLine("| selection | kept | perplexity | reconstructed | blocks reconstructed |\n|---|---|---|---|---|");
        foreach (double keep in settings.Keep)
        {
            void Both(string name, ISelectionStrategy strategy)
            {
                if (!Wanted(name))
                {
                    return;
                }

                var plan = experiment.Run(strategy, keep, 0).Plan;
                var (reconstructed, blocks) = experiment.EvaluateReconstructed(plan);
                output.WriteLine(
                    $"| {name} | {keep:P0} | {Experiment.Format([experiment.Perplexity(plan)])} | {Experiment.Format([reconstructed])} | "
                        + $"{blocks} of {plan.Blocks.Count} |");
                output.Flush();
            }

            Both("Fisher, one round", Fisher(1));
            Both("Fisher, 8 rounds", Fisher(8));
            foreach (int steps in settings.Steps)
            {
                Both($"learned, {steps} steps", Ours(steps));
            }
        }
    }

    /// <summary>Speed of pruned and dense models, measured in turns; widths are multiples of 32.</summary>
    private void Speed(Experiment experiment)
    {
        output.WriteLine(
            "| kept | parameters, whole model: dense / pruned | prefill 512 | prefill 2,048 | decode, batch 1 | decode, batch 16 "
                + "|\n|---|---|---|---|---|---|");
        foreach (double keep in settings.Keep)
        {
            using var pruned = experiment.Prune(
                new FisherSelection { Rounds = 1, SequencesPerRound = 4, SequenceLength = settings.Window }, keep, widthMultiple: 32);
            var counter = new ParameterCounter(experiment.Model.Spec);
            double parameters = (double)counter.Dense.WholeModel / counter.Count(pruned.Plan!).WholeModel;
            IPrunableModel[] pair = [experiment.Model, pruned];
            string Ratio(IReadOnlyList<double> speeds) => (speeds[1] / speeds[0]).ToString("F2", CultureInfo.InvariantCulture);
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {keep:P0} | {parameters:F2} | "
                    + $"{Ratio(Throughput.MeasurePrefill(pair, new ThroughputOptions { SequenceLength = 512 }))} | "
                    + $"{Ratio(Throughput.MeasurePrefill(pair, new ThroughputOptions { SequenceLength = 2048 }))} | "
                + $"{Ratio(Throughput.MeasureDecode(pair))} | "
                + $"{Ratio(Throughput.MeasureDecode(pair, new ThroughputOptions { BatchSize = 16 }))} |"));
        }
    }

    private void Compute()
    {
        foreach (var type in new[] { torch.ScalarType.Float32, torch.ScalarType.BFloat16 })
        {
            using var experiment = new Experiment(settings with { Type = type });
            output.WriteLine(experiment.Conditions() + "\n\n" + Head);
            foreach (double keep in settings.Keep)
            {
                Row(experiment, $"learned in {type}", Ours(), keep);
            }

            output.WriteLine();
        }
    }

    private void Row(Experiment experiment, string name, ISelectionStrategy strategy, double keep, TokenCorpus? text = null,
        PruningLayout layout = PruningLayout.Paper)
    {
        if (Wanted(name))
        {
            output.WriteLine(experiment.Row(name, strategy, keep, settings.Seeds, text, layout));
            output.Flush();
        }
    }

    private bool Wanted(string name) => name.Contains(settings.Only, StringComparison.OrdinalIgnoreCase);

    private static string Line(string name, double perplexity, double kept) =>
        string.Create(CultureInfo.InvariantCulture, $"| {name} | {kept:P2} | {Experiment.Format([perplexity])} | |");
}
