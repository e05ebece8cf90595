using System.Globalization;

namespace PruneFirstModel;

/// <summary>The command line.</summary>
internal sealed record Options
{
    public const string Usage = """
        Prunes a language model and shows what it cost.

          --ratio R    how much of the block weights is removed (0.2)
          --model DIR  checkpoint folder to prune (the small LLaMA that comes with this sample)
          --text FILE  calibration text (none: text that the model generates)
          --test FILE  text to measure perplexity on (none: another text that the dense model generates)
          --steps N    learning steps (150)
          --report DIR folder of the report: a page, its data, its charts (none)
          --out DIR    folder of the pruned checkpoint (a new one in the system's temporary folder)
        """;

    public double Ratio { get; init; } = 0.2;

    public string Model { get; init; } = Path.Combine(AppContext.BaseDirectory, "model");

    public string? Text { get; init; }

    public string? Test { get; init; }

    public int Steps { get; init; } = 150;

    public string? Report { get; init; }

    public string Out { get; init; } = Path.Combine(Path.GetTempPath(), "displlm-first-" + Guid.NewGuid().ToString("N")[..8]);

    public static Options Parse(string[] args)
    {
        var options = new Options();
        for (int i = 0; i < args.Length; i += 2)
        {
            string value = i + 1 < args.Length ? args[i + 1] : throw new FormatException($"{args[i]} needs a value.");
            options = args[i] switch
            {
                "--ratio" => options with { Ratio = double.Parse(value, CultureInfo.InvariantCulture) },
                "--model" => options with { Model = value },
                "--text" => options with { Text = value },
                "--test" => options with { Test = value },
                "--steps" => options with { Steps = int.Parse(value, CultureInfo.InvariantCulture) },
                "--report" => options with { Report = value },
                "--out" => options with { Out = value },
                _ => throw new FormatException($"{args[i]} is not an option."),
            };
        }

        return options;
    }
}
