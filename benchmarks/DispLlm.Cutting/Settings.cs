using System.Globalization;

namespace DispLlm.Cutting;

/// <summary>The settings of the command line.</summary>
internal sealed record Settings
{
    public const string Usage = """
        Measures loading, cutting and the cost of training, and prints Markdown. Needs Linux with GNU coreutils for cut and load.

          dotnet run --project benchmarks/DispLlm.Cutting -c Release -- <measurement> [options]

        Measurements:
          cut      PrunedModelBuilder on a folder of LLaMA-2 7B's shape against cp of what it writes
          load     opening folders of that shape, mapped and copied, against reading their headers
          linear   the time of a training run by steps, tokens and parameters, with a fitted line

        Options:
          --blocks 32         blocks of the folder (cut), or a list of them (load: 1,2,4,8)
          --ratio 0.5         fraction of the block weights to remove (cut)
          --cache cold        cold: files are read from the disk; warm: from the system's cache, which has to hold them (cut)
          --shard 5           largest shard, in GB
          --repeats 3         repeats of each measurement
          --in /tmp           parent of the temporary folders
        """;

    public required string Measurement { get; init; }

    public required int[] Blocks { get; init; }

    public double Ratio { get; init; }

    public bool IsWarm { get; init; }

    public double ShardBytes { get; init; }

    public int Repeats { get; init; }

    public required string Place { get; init; }

    public static Settings Parse(string[] args)
    {
        if (args.Length % 2 == 0 || args[0] is not ("cut" or "load" or "linear"))
        {
            throw new ArgumentException("A measurement's name comes first, then options with a value each.");
        }

        var options = args.Skip(1).Chunk(2).ToDictionary(pair => pair[0], pair => pair[1]);
        string Take(string name, string otherwise) => options.Remove(name, out string? value) ? value : otherwise;
        double Number(string name, string otherwise) => double.Parse(Take(name, otherwise), CultureInfo.InvariantCulture);
        var settings = new Settings
        {
            Measurement = args[0],
            Blocks =
            [
                .. Take("--blocks", args[0] == "cut" ? "32" : "1,2,4,8").Split(',').Select(
                    text => int.Parse(text, CultureInfo.InvariantCulture)),
            ],
            Ratio = Number("--ratio", "0.5"),
            IsWarm = Take("--cache", "cold") == "warm",
            ShardBytes = Number("--shard", "5") * 1e9,
            Repeats = (int)Number("--repeats", "3"),
            Place = Take("--in", Path.GetTempPath()),
        };
        return options.Count == 0 ? settings : throw new ArgumentException($"There is no option {options.Keys.First()}.");
    }
}
