namespace DispLlm.Deployment;

/// <summary>Prints a row for each model in each program.</summary>
internal sealed class Table(Settings settings)
{
    public void Print(TextWriter output)
    {
        var models = new Models(settings);
        var folders = models.Prepare();
        output.WriteLine(
            $"{settings.Prompt} prompt tokens, {settings.Tokens} generated, {settings.Threads} thread(s), best of {settings.Rounds} "
                + "processes in turns. In parentheses: against the dense model in the same program.\n");
        output.WriteLine("| program | model | prefill, tokens/s | decode, tokens/s | size | resident |");
        output.WriteLine("|---|---|---|---|---|---|");
        foreach (var runtime in Runtime.All.Where(runtime => settings.Runtimes.Contains(runtime.Name)))
        {
            var paths = folders.Select(model => (model.Name, Path: models.Export(runtime, model.Folder))).ToList();
            var best = Measure(runtime, [.. paths.Select(model => model.Path)]);
            foreach (var (model, index) in paths.Select((model, index) => (model, index)))
            {
                var (own, dense) = (best[index], best[0]);
                string prefill = FormattableString.Invariant($"{own.Prefill:0} ({own.Prefill / dense.Prefill:0.00})");
                string decode = FormattableString.Invariant($"{own.Decode:0.0} ({own.Decode / dense.Decode:0.00})");
                string bytes = FormattableString.Invariant($"{Size(model.Path) / 1e6:0} MB | {own.ResidentBytes / 1e6:0} MB");
                output.WriteLine($"| {runtime.Name} | {model.Name} | {prefill} | {decode} | {bytes} |");
                output.Flush();
            }
        }
    }

    /// <summary>Models take turns, so that what else the machine does falls on all of them.</summary>
    private List<Measurement> Measure(Runtime runtime, string[] paths)
    {
        var rounds = Enumerable.Range(0, settings.Rounds)
            .Select(_ => paths.Select(path => Measurement.InProcess(runtime, path, settings)).ToList()).ToList();
        return
        [
            .. Enumerable.Range(0, paths.Length).Select(index => new Measurement(
                rounds.Max(round => round[index].Prefill), rounds.Max(round => round[index].Decode),
                rounds.Min(round => round[index].ResidentBytes))),
        ];
    }

    private static long Size(string path) => File.Exists(path) ? new FileInfo(path).Length
        : new DirectoryInfo(path).EnumerateFiles()
            .Where(file => !file.Name.Contains("token", StringComparison.Ordinal)).Sum(file => file.Length);
}
