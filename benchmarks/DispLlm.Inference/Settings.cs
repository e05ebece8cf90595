using System.Globalization;
using TorchSharp;

namespace DispLlm.Inference;

/// <summary>The command line.</summary>
internal sealed record Settings
{
    public const string Usage = """
        Measures how much faster a pruned model is than the dense one. Weights are random; both are timed alternately; the output is Markdown.

          dotnet run --project benchmarks/DispLlm.Inference -c Release -- <table> [options]

        Tables:
          ratios   time dense / pruned beside parameters dense / pruned, and the dense forward pass beside libtorch's matrix multiplications alone
          pieces   what the time of a block is spent on

        Options:
          --shape smollm2        smollm2, llama3.2-1b or llama2-7b             (smollm2)
          --blocks 10            blocks of the model                           (10; 4; 1)
          --keep 0.8,0.5         kept fractions of the block weights           (0.8,0.5)
          --cases prefill512,prefill2048,decode1,decode16                      (these)
                                 prefill of so many tokens, prefill2048x8 of eight texts; decode steps of a batch
          --prompt 128           tokens before those that are decoded          (128)
          --tokens 8             decode steps in one turn                      (8)
          --rounds 5             measured turns of each, after one that is not (5)
          --multiple 32          widths are multiples of this                  (32)
          --threads 2            threads, also of libtorch                     (all cores)
          --clock wall           wall, or cpu: processor time of the process, less disturbed by other work;
                                 use it with one thread                        (wall)
          --type float32         compute type, or bfloat16                     (float32)
          --device cpu           cpu, or cuda: the first GPU                   (cpu)
        """;

    public required string Table { get; init; }

    public required Shape Shape { get; init; }

    public required int Blocks { get; init; }

    public required double[] Keep { get; init; }

    public required Case[] Cases { get; init; }

    public required int Prompt { get; init; }

    public required int Tokens { get; init; }

    public required int Rounds { get; init; }

    public required int Multiple { get; init; }

    public required int Threads { get; init; }

    public required bool ProcessorTime { get; init; }

    public required torch.ScalarType Type { get; init; }

    public required bool OnGpu { get; init; }

    public ITensorBackend Backend => OnGpu ? TorchBackend.Cuda(0, Type) : TorchBackend.Cpu(Type);

    /// <summary>The heading of a table.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Shape.Name}, {Blocks} block{(Blocks == 1 ? string.Empty : "s")}, {Type}, "
            + $"{(OnGpu ? "GPU" : Threads == 1 ? "1 thread" : $"{Threads} threads")}, "
        + $"{(ProcessorTime ? "processor" : "wall-clock")} time, median of {Rounds} turns.");

    public static Settings Parse(string[] args)
    {
        if (args.Length % 2 == 0 || args[0] is not ("ratios" or "pieces"))
        {
            throw new ArgumentException("A table's name comes first, then options with a value each.");
        }

        var options = args.Skip(1).Chunk(2).ToDictionary(pair => pair[0], pair => pair[1]);
        string Take(string name, string otherwise) => options.Remove(name, out string? value) ? value : otherwise;
        int Number(string name, int otherwise) => int.Parse(
            Take(name, otherwise.ToString(CultureInfo.InvariantCulture)), CultureInfo.InvariantCulture);
        var shape = Shape.Named(Take("--shape", "smollm2"));
        int prompt = Number("--prompt", 128);
        var settings = new Settings
        {
            Table = args[0],
            Shape = shape,
            Blocks = Number("--blocks", shape.Blocks),
            Keep = [.. Take("--keep", "0.8,0.5").Split(',').Select(keep => double.Parse(keep, CultureInfo.InvariantCulture))],
            Cases = [.. Take("--cases", "prefill512,prefill2048,decode1,decode16").Split(',').Select(name => Case.Named(name, prompt))],
            Prompt = prompt,
            Tokens = Number("--tokens", 8),
            Rounds = Number("--rounds", 5),
            Multiple = Number("--multiple", 32),
            Threads = Number("--threads", Environment.ProcessorCount),
            ProcessorTime = Take("--clock", "wall") switch
            {
                "cpu" => true,
                "wall" => false,
                var other => throw new ArgumentException($"There is no clock {other}.")
            },
            Type = Enum.Parse<torch.ScalarType>(Take("--type", "float32"), ignoreCase: true),
            OnGpu = Take("--device", "cpu") switch
            {
                "cuda" => true,
                "cpu" => false,
                var other => throw new ArgumentException($"There is no device {other}.")
            },
        };
        return options.Count == 0 ? settings : throw new ArgumentException($"There is no option {options.Keys.First()}.");
    }
}
