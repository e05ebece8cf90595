using System.Globalization;

namespace DispLlm.Deployment;

/// <summary>What is measured.</summary>
internal sealed record Settings
{
    public const string Usage = """
        Usage: DispLlm.Deployment --model FOLDER [--work FOLDER] [--pruned NAME=FOLDER,..] [--ratios 0.3,0.5]
               [--layouts paper,blocks,stock] [--runtimes NAME,..] [--threads 1] [--prompt 128] [--tokens 64] [--rounds 3]

        Prunes a model, exports it, and measures each program that runs it: speed against the dense model in the same
        program, size and resident memory. What is cut is chosen by magnitudes: speed depends on widths, not on which
        features they are. --work keeps the exports from run to run.
        """;

    public required string Model { get; init; }

    public string Work { get; init; } = Path.Combine(Path.GetTempPath(), "displlm-deployment");

    public IReadOnlyList<(string Name, string Folder)> Pruned { get; init; } = [];

    public IReadOnlyList<double> Ratios { get; init; } = [0.3, 0.5];

    public IReadOnlyList<PruningLayout> Layouts { get; init; } = [PruningLayout.Paper, PruningLayout.Blocks, PruningLayout.Stock];

    public IReadOnlyList<string> Runtimes { get; init; } = [.. Runtime.All.Select(runtime => runtime.Name)];

    public int Threads { get; init; } = 1;

    public int Prompt { get; init; } = 128;

    public int Tokens { get; init; } = 64;

    public int Rounds { get; init; } = 3;

    public static Settings Parse(string[] args)
    {
        Settings? settings = null;
        if (args.Length % 2 != 0)
        {
            throw new ArgumentException("Options come with one value each.");
        }

        foreach (string[] pair in args.Chunk(2).OrderBy(pair => pair[0] != "--model"))
        {
            string value = pair[1];
            string[] list = value.Split(',');
            int Count() => int.Parse(value, CultureInfo.InvariantCulture);
            settings = (pair[0], settings) switch
            {
                ("--model", _) => new Settings { Model = value },
                (_, null) => throw new ArgumentException("--model is missing."),
                ("--work", _) => settings with { Work = value },
                ("--pruned", _) => settings with
                {
                    Pruned = [.. list.Select(entry => entry.Split('=')).Select(entry => (entry[0], entry[1]))],
                },
                ("--ratios", _) => settings with { Ratios = [.. list.Select(text => double.Parse(text, CultureInfo.InvariantCulture))] },
                ("--layouts", _) => settings with { Layouts = [.. list.Select(text => Enum.Parse<PruningLayout>(text, ignoreCase: true))] },
                ("--runtimes", _) => settings with { Runtimes = list },
                ("--threads", _) => settings with { Threads = Count() },
                ("--prompt", _) => settings with { Prompt = Count() },
                ("--tokens", _) => settings with { Tokens = Count() },
                ("--rounds", _) => settings with { Rounds = Count() },
                _ => throw new ArgumentException($"There is no option '{pair[0]}'."),
            };
        }

        return settings ?? throw new ArgumentException("--model is missing.");
    }
}
