using System.Globalization;
using TorchSharp;

namespace DispLlm.Experiments;

/// <summary>The tables of docs/results.md, row by row as they come.</summary>
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

        using var laboratory = new Laboratory(settings);
        output.WriteLine(laboratory.Conditions() + "\n");
        Action<Laboratory> table = settings.Table switch
        {
            "strategies" => Strategies,
            "steps" => Steps,
            "estimators" => Estimators,
            "ablations" => Ablations,
            "ratios" => Ratios,
            "text" => Texts,
            "compensation" => Compensations,
            "speed" => Speed,
            _ => throw new ArgumentException($"There is no table '{settings.Table}'."),
        };
        table(laboratory);
    }

    private HypernetworkSelection Ours(int? steps = null) => new() { Steps = steps ?? settings.Steps[0], SequenceLength = settings.Window };

    private HypernetworkSelection Ours(Func<HypernetworkOptions, HypernetworkOptions> change) => Ours() with { Options = change(Ours().Options) };

    private FisherSelection Fisher(int rounds) => new() { Rounds = rounds, SequenceLength = settings.Window };

    private void Strategies(Laboratory laboratory)
    {
        output.WriteLine(Head);
        foreach (double keep in settings.Keep)
        {
            Row(laboratory, "random", new RandomSelection(), keep);
            Row(laboratory, "weight magnitude", new MagnitudeSelection(), keep);
            Row(laboratory, "activation-weighted magnitude", new ActivationMagnitudeSelection { SequenceLength = settings.Window }, keep);
            Row(laboratory, "first order", new FirstOrderSelection { SequenceLength = settings.Window }, keep);
            Row(laboratory, "Fisher, one round", Fisher(1), keep);
            Row(laboratory, "Fisher, 8 rounds", Fisher(8), keep);
            Row(laboratory, "Fisher, 16 rounds, memory 0.8", Fisher(16) with { Momentum = 0.8 }, keep);
            foreach (int steps in settings.Steps)
            {
                Row(laboratory, $"learned, {steps} steps", Ours(steps), keep);
            }
        }
    }

    private void Steps(Laboratory laboratory)
    {
        output.WriteLine(Head);
        foreach (double keep in settings.Keep)
        {
            if (settings.Published > 0)
            {
                Released(laboratory, keep);
                Row(laboratory, $"paper, {settings.Published} steps", HypernetworkSelection.Paper with { Steps = settings.Published, SequenceLength = settings.Window }, keep);
            }

            foreach (int steps in settings.Started)
            {
                Row(laboratory, $"ReinMax from Fisher scores, {steps} steps", Ours(options => options with { Steps = steps, InitialScoreWeight = 1.5, FinalInverseTemperature = 1, ScaleLearningRate = 0 }) with { InitialScores = Fisher(1) }, keep);
            }

            foreach (int steps in settings.Steps)
            {
                Row(laboratory, $"ours, {steps} steps", Ours(steps), keep);
            }
        }
    }

    /// <summary>The released code's selection, on the exact budget and as that code draws it.</summary>
    private void Released(Laboratory laboratory, double keep)
    {
        string name = $"released code, {settings.Published} steps, projected";
        if (!Wanted(name))
        {
            return;
        }

        var released = HypernetworkSelection.ReferenceImplementation with { Steps = settings.Published, SequenceLength = settings.Window };
        var outcome = laboratory.Run(released, keep, 0);
        output.WriteLine(Line(name, laboratory.Perplexity(outcome.Plan), keep));
        var drawn = Laboratory.DrawnAsReleased(outcome.Scores, released, 0);
        double kept = laboratory.Kept(drawn);
        output.WriteLine(Line("the same, masks as its code draws them", laboratory.Judge(drawn), kept));
    }

    private void Estimators(Laboratory laboratory)
    {
        output.WriteLine(Head);
        foreach (double keep in settings.Keep)
        {
            Row(laboratory, "ReinMax", Ours(), keep);
            Row(laboratory, "straight-through", Ours(options => options with { Estimator = GateEstimator.StraightThrough }), keep);
            Row(laboratory, "soft Gumbel-sigmoid, tau 0.4", Ours(options => options with { Estimator = GateEstimator.GumbelSigmoid, Temperature = 0.4 }), keep);
        }
    }

    private void Ablations(Laboratory laboratory)
    {
        output.WriteLine(Head);
        foreach (double keep in settings.Keep)
        {
            Row(laboratory, "as it is", Ours(), keep);
            Row(laboratory, "one selection for the whole stream (regular structural pruning)", Ours() with { Ablations = new HypernetworkAblations { SharedStream = true } }, keep);
            Row(laboratory, "no hypernetwork (free logits, learning rate 0.2)", Ours(options => options with { LearningRate = 0.2 }) with { Ablations = new HypernetworkAblations { Kind = HypernetworkKind.None } }, keep);
            Row(laboratory, "no recurrence", Ours() with { Ablations = new HypernetworkAblations { Kind = HypernetworkKind.Mlp } }, keep);
            Row(laboratory, "without starting scores", Ours(options => options with { InitialScoreWeight = 0 }), keep);
            Row(laboratory, "without sharpening", Ours(options => options with { FinalInverseTemperature = 1 }), keep);
            Row(laboratory, "without gains", Ours(options => options with { ScaleLearningRate = 0 }), keep);
            Row(laboratory, "learning rate constant", Ours(options => options with { MinLearningRateRatio = 1 }), keep);
            Row(laboratory, "lambda 6", Ours(options => options with { BudgetLossWeight = 6 }), keep);
            Row(laboratory, "budget ramps down over half of the steps", Ours(options => options with { BudgetWarmupFraction = 0.5 }), keep);
            Row(laboratory, "half of the loss towards the dense model", Ours(options => options with { DistillationWeight = 0.5 }), keep);
            Row(laboratory, "two windows a step", Ours(options => options with { GradientAccumulationSteps = 2 }), keep);
            Row(laboratory, "starting scores in one round of 16 windows", Ours() with { InitialScores = Fisher(1) }, keep);
            Row(laboratory, "starting scores in 4 rounds of 4 windows", Ours() with { InitialScores = Fisher(4) with { SequencesPerRound = 4 } }, keep);
            Row(laboratory, "starting scores in 8 rounds of 16 windows", Ours() with { InitialScores = Fisher(8) }, keep);
        }
    }

    private void Ratios(Laboratory laboratory)
    {
        output.WriteLine("| kept | run of its own | " + string.Join(" | ", settings.Keep.Select(keep => $"projected from the run at {keep:P0}")) + " |");
        output.WriteLine("|---|---|" + string.Concat(settings.Keep.Select(_ => "---|")));
        var runs = settings.Keep.Select(keep => laboratory.Run(Ours(), keep, 0)).ToArray();
        for (int i = 0; i < settings.Keep.Length; i++)
        {
            var budget = PruningBudget.FromKeepFraction(settings.Keep[i]);
            var cells = runs.Select(run => laboratory.Perplexity(run.PlanFor(laboratory.Model.Spec, budget)));
            output.WriteLine($"| {settings.Keep[i]:P0} | {Laboratory.Figure([laboratory.Perplexity(runs[i].Plan)])} | "
                + string.Join(" | ", cells.Select(cell => Laboratory.Figure([cell]))) + " |");
        }
    }

    private void Texts(Laboratory laboratory)
    {
        var context = CorpusContext.For(laboratory.Model);
        int[] given = laboratory.Text.Tokenize(context);
        int[] sampled = TokenCorpus.GeneratedByModel(new GeneratedCorpusOptions { Tokens = 32_768, SequenceLength = 256, BatchSize = 32 }).Tokenize(context);
        output.WriteLine(Head);
        foreach (double keep in settings.Keep)
        {
            void Text(string name, IEnumerable<int> tokens) => Row(laboratory, name, Ours(), keep, TokenCorpus.FromTokens([.. tokens]));
            Text($"given text, {given.Length:N0} tokens", given);
            foreach (int tokens in s_textSizes.Where(tokens => tokens < given.Length))
            {
                Text($"given text, {tokens:N0} tokens", given.Take(tokens));
            }

            Text("sampled from the model, 32,768 tokens", sampled);
            Text("sampled from the model, 8,192 tokens", sampled.Take(8_192));
            Text("16,384 tokens of each", given.Take(16_384).Concat(sampled.Take(16_384)));
        }
    }

    private void Compensations(Laboratory laboratory)
    {
        output.WriteLine("| selection | kept | perplexity | compensated | blocks corrected |\n|---|---|---|---|---|");
        foreach (double keep in settings.Keep)
        {
            void Both(string name, ISelectionStrategy strategy)
            {
                if (!Wanted(name))
                {
                    return;
                }

                var plan = laboratory.Run(strategy, keep, 0).Plan;
                var (compensated, blocks) = laboratory.Compensated(plan);
                output.WriteLine($"| {name} | {keep:P0} | {Laboratory.Figure([laboratory.Perplexity(plan)])} | {Laboratory.Figure([compensated])} | {blocks} of {plan.Blocks.Count} |");
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

    /// <summary>Dense against pruned, in turns; widths are multiples of 32.</summary>
    private void Speed(Laboratory laboratory)
    {
        output.WriteLine("| kept | parameters, whole model: dense / pruned | prefill 512 | prefill 2,048 | decode, batch 1 | decode, batch 16 |\n|---|---|---|---|---|---|");
        foreach (double keep in settings.Keep)
        {
            using var pruned = laboratory.Cut(new FisherSelection { Rounds = 1, SequencesPerRound = 4, SequenceLength = settings.Window }, keep, widthMultiple: 32);
            var counter = new ParameterCounter(laboratory.Model.Spec);
            double parameters = (double)counter.Dense.WholeModel / counter.Count(pruned.Plan!).WholeModel;
            IPrunableModel[] pair = [laboratory.Model, pruned];
            string Ratio(IReadOnlyList<double> speeds) => (speeds[1] / speeds[0]).ToString("F2", CultureInfo.InvariantCulture);
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"| {keep:P0} | {parameters:F2} | {Ratio(Throughput.Prefill(pair, 512))} | {Ratio(Throughput.Prefill(pair, 2048))} | "
                + $"{Ratio(Throughput.Decode(pair))} | {Ratio(Throughput.Decode(pair, batch: 16))} |"));
        }
    }

    private void Compute()
    {
        foreach (var type in new[] { torch.ScalarType.Float32, torch.ScalarType.BFloat16 })
        {
            using var laboratory = new Laboratory(settings with { Type = type });
            output.WriteLine(laboratory.Conditions() + "\n\n" + Head);
            foreach (double keep in settings.Keep)
            {
                Row(laboratory, $"learned in {type}", Ours(), keep);
            }

            output.WriteLine();
        }
    }

    private void Row(Laboratory laboratory, string name, ISelectionStrategy strategy, double keep, TokenCorpus? text = null)
    {
        if (Wanted(name))
        {
            output.WriteLine(laboratory.Row(name, strategy, keep, settings.Seeds, text));
            output.Flush();
        }
    }

    private bool Wanted(string name) => name.Contains(settings.Only, StringComparison.OrdinalIgnoreCase);

    private static string Line(string name, double perplexity, double kept) =>
        string.Create(CultureInfo.InvariantCulture, $"| {name} | {kept:P2} | {Laboratory.Figure([perplexity])} | |");
}
