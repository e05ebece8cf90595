using System.Globalization;
using TorchSharp;

namespace DispLlm.Experiments;

/// <summary>The settings of the command line.</summary>
internal sealed record Settings
{
    public const string Usage = """
        Prints comparison tables as Markdown.

          dotnet run --project benchmarks/DispLlm.Experiments -c Release -- <table> --model <folder> --calibration <file> --heldout <file>

        Tables:
          strategies   every strategy at each kept fraction
          steps        the default recipe at each number of steps, and the published ones at --published steps
          estimators   ReinMax, straight-through and soft gates at the first number of steps
          ablations    without hypernetwork, without recurrence, with one shared stream selection, without each of our additions
          ratios       one run projected on other ratios, beside runs of their own
          text         given text, generated text, both; and how much of it
          reconstruction  weights reconstructed after the selection, or not
          speed        prefill and decode, pruned against dense in turns
          compute      float32 against bfloat16
          layouts      what each layout costs, on several texts and tasks
          layout-speed prefill, decode, cache and parameters of each layout

        Options:
          --keep 0.5,0.7        kept fractions of the block weights          (0.5)
          --steps 75,200        numbers of learning steps                    (75)
          --published 300       steps of the published recipes; 0 leaves out (300)
          --started 0           steps of ReinMax from Fisher scores without our other additions; 0 leaves it out (0)
          --seeds 1             runs per row, each with its own seed         (1)
          --first-seed 0        seed of the first run                        (0)
          --window 512          tokens per sequence                           (512)
          --heldout-windows 40  windows that the result is evaluated on      (40)
          --type bfloat16       compute type, or float32                     (bfloat16)
          --only text           rows whose name contains this text           (all)
          --cache folder        cache of selections                          (none)

        Options of the layouts: --calibration and --heldout take several files, separated by commas.
          --characters 400000   characters of each calibration text          (400000)
          --samples 20480       tokens of own samples beside them            (20480)
          --tasks files         zero-shot tasks, such as arc-easy.jsonl      (none)
          --task-items 200      items of each task                           (200)
          --contexts 512,4096   tokens before the decoded ones               (512,4096)
          --rounds 3            measured rounds                              (3)
        """;

    public required string Table { get; init; }

    public required string Model { get; init; }

    public required string Calibration { get; init; }

    public required string Heldout { get; init; }

    public double[] Keep { get; init; } = [0.5];

    public int[] Steps { get; init; } = [75];

    public int Published { get; init; } = 300;

    public int[] Started { get; init; } = [];

    public int Seeds { get; init; } = 1;

    public int FirstSeed { get; init; }

    public int Window { get; init; } = 512;

    public int HeldoutWindows { get; init; } = 40;

    public torch.ScalarType Type { get; init; } = torch.ScalarType.BFloat16;

    /// <summary>Only rows whose name contains this text are printed.</summary>
    public string Only { get; init; } = "";

    /// <summary>The folder in which selections are cached.</summary>
    public string? CacheFolder { get; init; }

    /// <summary>Characters of each calibration text of the layouts.</summary>
    public int Characters { get; init; } = 400_000;

    /// <summary>Tokens of own samples that the layouts are calibrated on beside them.</summary>
    public int Samples { get; init; } = 20_480;

    /// <summary>The files of zero-shot tasks.</summary>
    public string[] Tasks { get; init; } = [];

    public int TaskItems { get; init; } = 200;

    public int[] Contexts { get; init; } = [512, 4096];

    public int Rounds { get; init; } = 3;

    public static Settings Parse(string[] args)
    {
        if (args.Length % 2 == 0)
        {
            throw new ArgumentException("A table's name comes first, then options with a value each.");
        }

        var options = args.Skip(1).Chunk(2).ToDictionary(pair => pair[0], pair => pair[1]);
        string Take(string name, string? otherwise) =>
            options.Remove(name, out string? value) ? value : otherwise ?? throw new ArgumentException($"{name} is missing.");
        T[] List<T>(string name, string otherwise)
            where T : IParsable<T> => [.. Take(name, otherwise).Split(',').Select(text => T.Parse(text, CultureInfo.InvariantCulture))];
        var settings = new Settings
        {
            Table = args[0],
            Model = Take("--model", null),
            Calibration = Take("--calibration", null),
            Heldout = Take("--heldout", null),
            Keep = List<double>("--keep", "0.5"),
            Steps = [.. List<int>("--steps", "75").Where(steps => steps > 0)],
            Published = List<int>("--published", "300")[0],
            Started = [.. List<int>("--started", "0").Where(steps => steps > 0)],
            Seeds = List<int>("--seeds", "1")[0],
            FirstSeed = List<int>("--first-seed", "0")[0],
            Window = List<int>("--window", "512")[0],
            HeldoutWindows = List<int>("--heldout-windows", "40")[0],
            Type = Enum.Parse<torch.ScalarType>(Take("--type", "bfloat16"), ignoreCase: true),
            Only = Take("--only", ""),
            Characters = List<int>("--characters", "400000")[0],
            Samples = List<int>("--samples", "20480")[0],
            Tasks = [.. Take("--tasks", "").Split(',', StringSplitOptions.RemoveEmptyEntries)],
            TaskItems = List<int>("--task-items", "200")[0],
            Contexts = List<int>("--contexts", "512,4096"),
            Rounds = List<int>("--rounds", "3")[0],
            CacheFolder = options.Remove("--cache", out string? cache) ? cache : null,
        };
        return options.Count == 0 ? settings : throw new ArgumentException($"There is no option {options.Keys.First()}.");
    }
}
