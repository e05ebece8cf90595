using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Cutting;

/// <summary>
/// Loading cold folders of LLaMA-2 7B's shape compared with reading their headers; and a forward pass over mapped weights compared with
/// copied ones, once they are in memory.
/// </summary>
internal sealed class LoadingBenchmark(Settings settings)
{
    private const int Tokens = 16;

    private static readonly LoadOptions s_copied = new() { MapWeights = false };

    public void Print(TextWriter output)
    {
        output.WriteLine(
            "| weights, GB | reading headers, ms | loading mapped / reading headers | loading copied / loading mapped | pass mapped / "
                + "pass copied |");
        output.WriteLine("|---|---|---|---|---|");
        foreach (int blocks in settings.Blocks)
        {
            Disk.EnsureFree(settings.Place, SyntheticFolder.Bytes(blocks));
            using var folder =
                new SyntheticFolder(Path.Combine(settings.Place, $"displlm-loading-{Guid.NewGuid():N}"), blocks, settings.ShardBytes);
            var backend = TorchBackend.Cpu(ScalarType.BFloat16);

            void ReadHeaders()
            {
                using var checkpoint = CheckpointFolder.Open(folder.FullPath);
                checkpoint.OpenAll();
            }

            // Warm-up.
            ReadHeaders();
            PrunableModel.Load(folder.FullPath, backend).Dispose();
            double headers = Cold(folder, ReadHeaders);
            double mapped = Cold(folder, () => PrunableModel.Load(folder.FullPath, backend).Dispose());
            string line = $"| {Disk.MeasureSize(folder.FullPath) / 1e9:F2} | {headers * 1e3:F1} | {mapped / headers:F2} |";

            // A copy has to fit next to the system's cache of the file.
            if (SyntheticFolder.Bytes(blocks) * 2.5 > GC.GetGCMemoryInfo().TotalAvailableMemoryBytes)
            {
                output.WriteLine(line + " does not fit | |");
                continue;
            }

            double copied = Cold(folder, () => PrunableModel.Load(folder.FullPath, backend, s_copied).Dispose());
            using var first = PrunableModel.Load(folder.FullPath, backend);
            using var second = PrunableModel.Load(folder.FullPath, backend, s_copied);
            output.WriteLine(line + $" {copied / mapped:F0} | {PassRatio(first, second):F2} |");
        }
    }

    private double Cold(SyntheticFolder folder, Action action) => Enumerable.Range(0, settings.Repeats).Select(_ =>
    {
        Disk.Drop(folder.FullPath);
        return Disk.Seconds(action);
    }).Order().ElementAt(settings.Repeats / 2);

    /// <summary>The ratio of the fastest passes, measured in turns.</summary>
    private double PassRatio(PrunableModel first, PrunableModel second)
    {
        using var noGradient = no_grad();
        using Tensor tokens = arange(Tokens, ScalarType.Int64).view(1, Tokens);
        double Pass(PrunableModel model) => Disk.Seconds(() => model.Logits(tokens).Dispose());
        (double First, double Second)[] passes =
            [.. Enumerable.Range(0, 1 + settings.Repeats).Select(_ => (Pass(first), Pass(second))).Skip(1)];
        return passes.Min(pass => pass.First) / passes.Min(pass => pass.Second);
    }
}
