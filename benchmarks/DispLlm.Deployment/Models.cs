using System.Globalization;

namespace DispLlm.Deployment;

/// <summary>The dense model and the pruned ones, and their exports.</summary>
internal sealed class Models(Settings settings)
{
    /// <summary>The folders by name, the dense one first.</summary>
    public IReadOnlyList<(string Name, string Folder)> Prepare()
    {
        Directory.CreateDirectory(settings.Work);
        var models = new List<(string Name, string Folder)> { ("dense", settings.Model) };
        using var dense = PrunableModel.Load(settings.Model);
        foreach (double ratio in settings.Ratios)
        {
            foreach (var layout in settings.Layouts)
            {
                string name = FormattableString.Invariant($"{layout.ToString().ToLowerInvariant()}, {ratio * 100:0} % pruned");
                string folder = Path.Combine(settings.Work, string.Create(CultureInfo.InvariantCulture, $"{layout}-{ratio * 100:0}"));
                if (!Directory.Exists(folder))
                {
                    var result = PruningPipeline.For(dense).WithPruningRatio(ratio).WithLayout(layout)
                        .WithStrategy(new MagnitudeSelection()).RunAsync().GetAwaiter().GetResult();
                    result.SaveAsync(folder).GetAwaiter().GetResult();
                }

                models.Add((name, folder));
            }
        }

        return [.. models, .. settings.Pruned];
    }

    /// <summary>The path that a program loads, exported where it is not there yet.</summary>
    public string Export(Runtime runtime, string folder)
    {
        if (runtime.Suffix.Length == 0)
        {
            return folder;
        }

        string path = Path.Combine(settings.Work, Path.GetFileName(Path.TrimEndingDirectorySeparator(folder)) + runtime.Suffix);
        if (!Path.Exists(path))
        {
            runtime.ExportAsync(folder, path).GetAwaiter().GetResult();
        }

        return path;
    }
}
