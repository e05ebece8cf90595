namespace DispLlm.Cutting;

/// <summary>
/// The builder compared with <c>cp</c> of the bytes that it writes, in turns, both from cold files or both from the system's cache. The
/// builder returns when everything is on the disk; <c>cp</c> does not wait for that, so the copy is also measured with a flush. The builder
/// reads the whole checkpoint, the copy only the kept bytes: the last ratio compares the bytes read and written per second.
/// </summary>
internal sealed class CuttingBenchmark(Settings settings)
{
    public void Print(TextWriter output)
    {
        int blocks = settings.Blocks[0];
        string folder = Path.Combine(settings.Place, $"displlm-cutting-{Guid.NewGuid():N}");
        Disk.EnsureFree(settings.Place, SyntheticFolder.Bytes(blocks) * (1 + (2 * (1 - settings.Ratio))));
        Directory.CreateDirectory(folder);
        try
        {
            using var source = new SyntheticFolder(Path.Combine(folder, "dense"), blocks, settings.ShardBytes);
            string plan = Path.Combine(folder, "plan.json");
            using (var model = PrunableModel.FromConfig(ModelConfig.Load(Path.Combine(source.FullPath, "config.json"))))
            {
                var request = new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(settings.Ratio) };
                new RandomSelection().SelectAsync(request).GetAwaiter().GetResult().Plan.Save(plan);
            }

            Print(output, folder, source.FullPath, plan);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private void Print(TextWriter output, string folder, string source, string plan)
    {
        string target = Path.Combine(folder, "pruned"), copy = Path.Combine(folder, "copy");
        var toCopy = new List<double>();
        var toFlushed = new List<double>();
        for (int run = 0; run < settings.Repeats; run++)
        {
            Prepare(source);
            var cut = CutRun.Start(source, plan, target);
            Prepare(target);
            double copied = Disk.Seconds(() => Disk.Copy(target, copy)), flushed = copied + Disk.Seconds(() => Disk.Flush(copy));
            if (run == 0)
            {
                output.WriteLine($"From {Describe(source)} to {Describe(target)}, {(settings.IsWarm ? "warm" : "cold")}.\n");
                output.WriteLine(
                    "| run | cut / cp | cut / (cp and its flush) | bytes a second, cut / (cp and its flush) | peak resident memory of the "
                        + "cut, MB |");
                output.WriteLine("|---|---|---|---|---|");
            }

            toCopy.Add(cut.Seconds / copied);
            toFlushed.Add(cut.Seconds / flushed);
            double moved = (double)(Disk.MeasureSize(source) + Disk.MeasureSize(target)) / (2 * Disk.MeasureSize(target));
            output.WriteLine(
                $"| {run + 1} | {toCopy[^1]:F2} | {toFlushed[^1]:F2} | {moved / toFlushed[^1]:F2} | {cut.PeakBytes / 1e6:F0} |");
            Directory.Delete(copy, recursive: true);
            Directory.Delete(target, recursive: true);
        }

        output.WriteLine($"| median | {Median(toCopy):F2} | {Median(toFlushed):F2} | | |");
    }

    private void Prepare(string folder)
    {
        if (settings.IsWarm)
        {
            Disk.Warm(folder);
        }
        else
        {
            Disk.Drop(folder);
        }
    }

    private static string Describe(string folder) =>
        $"{Disk.MeasureSize(folder) / 1e9:F2} GB in {Directory.GetFiles(folder, "*.safetensors").Length} shards";

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);
}
