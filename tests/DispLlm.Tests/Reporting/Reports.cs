namespace DispLlm.Tests.Reporting;

/// <summary>Reports with random plans and made-up measurements.</summary>
internal static class Reports
{
    /// <summary>A report without measurements.</summary>
    public static RunReport Bare(int blocks = 6, int hidden = 48, int mlp = 96, int seed = 1)
    {
        var random = new Random(seed);
        int[] Keep(int size, double share) => [.. Enumerable.Range(0, size).Where(i => i == 0 || random.NextDouble() < share)];
        var shape = new ModelShape
        {
            NumLayers = blocks,
            HiddenSize = hidden,
            IntermediateSize = mlp,
            NumAttentionHeads = 4,
            NumKeyValueHeads = 2,
            HeadDim = hidden / 4,
            GatedMlp = true,
            QueryKeyValueBias = false,
            AttentionOutputBias = false,
            MlpBias = false,
            OtherParameters = 1000,
        };
        var plan = new SelectionPlan(
            shape,
            [
                .. Enumerable.Range(0, blocks).Select(block => new BlockSelection
                {
                    AttentionInput = Keep(hidden, 0.8 - 0.4 * block / blocks),
                    AttentionOutput = Keep(hidden, 0.5),
                    MlpInput = Keep(hidden, 0.6),
                    MlpHidden = Keep(mlp, 0.5),
                    MlpOutput = Keep(hidden, 0.3 + 0.4 * block / blocks),
                    AttentionGroups = Keep(2, 0.7),
                }),
            ])
        {
            Family = "llama",
            Provenance = new PlanProvenance { Strategy = "random", Seed = seed, Budget = PruningBudget.FromRatio(0.5), WidthMultiple = 1 },
        };
        return new RunReport { Model = "small-model", Plan = plan, Settings = new RunSettings() };
    }

    /// <summary>A report with all measurements.</summary>
    public static RunReport Full(int blocks = 6, int hidden = 48, int mlp = 96, int steps = 40) =>
        Measured(Bare(blocks, hidden, mlp), steps);

    private static RunReport Measured(RunReport bare, int steps) => bare with
    {
        Settings = new RunSettings
        {
            Calibration = "'calibration.txt'",
            Backend = "cpu (Float32)",
            Options = new Dictionary<string, string> { ["Steps"] = $"{steps}" }
        },
        History = Steps(steps, new GateLayout(bare.Plan.Model)),
        Perplexity = new(
            new PerplexityResult(20, Math.Log(20), 5110, 10, 512), new PerplexityResult(31.25, Math.Log(31.25), 5110, 10, 512)),
        PerplexityText = "'test.txt'",
        Tasks =
        [
            new(new("arc_easy", 2376, 0.51, 0.0102, 0.49, 0.0103), new("arc_easy", 2376, 0.43, 0.0101, 0.41, 0.0101)),
            new(new("winogrande", 1267, 0.52, 0.014, null, null), new("winogrande", 1267, 0.5, 0.014, null, null)),
        ],
        Agreement = new(0.62, 0.58, 5110),
        WeightBytes = new(269_060_552, 162_841_210),
        Prefill = new(100, 190),
        Decode = new(10, 15),
    };

    private static PruningProgress[] Steps(int steps, GateLayout layout) =>
    [
        .. Enumerable.Range(1, steps).Select(step => new PruningProgress(PruningPhase.Learning, step, steps, TimeSpan.FromSeconds(step))
        {
            CrossEntropy = 3 + Math.Exp(-step / 9.0) + 0.1 * Math.Sin(step),
            BudgetLoss = Math.Exp(-step / 5.0),
            KeptFraction = 0.5 + 0.4 * Math.Exp(-step / 5.0),
            GradientNorm = 1,
            Tokens = step * 512L,
            CollapsedSites = step == 3 ? [layout[0, SelectionSite.AttentionOutput]] : [],
        }),
    ];
}
