using System.CommandLine;

namespace DispLlm.Tool;

/// <summary>What is measured: models side by side, the first one the one to compare with, and the text.</summary>
internal sealed record Subjects(IReadOnlyList<PrunableModel> Models, TokenCorpus Text, int Window)
{
    /// <summary>Windows from the start of the text; null for all of them.</summary>
    public int? MaxWindows { get; init; }
}

/// <summary>A figure of each model.</summary>
/// <param name="Key">Its name for machines.</param>
/// <param name="Name">Its name for people.</param>
/// <param name="Format">How it is written, as .NET's numeric formats say it.</param>
/// <param name="Values">One value a model.</param>
internal sealed record Figure(string Key, string Name, string Format, IReadOnlyList<double> Values)
{
    /// <summary>Whether values are shown as multiples of the first model's too.</summary>
    public bool Compares { get; init; } = true;
}

/// <summary>Something that <c>eval</c> measures. A new one is a class and an entry in <see cref="All"/>.</summary>
internal abstract class Measurement
{
    /// <summary>In the order in which they are measured.</summary>
    public static IReadOnlyList<Measurement> All() => [new PerplexityMeasurement(), new AgreementMeasurement(), new TaskMeasurement(), new SpeedMeasurement()];

    /// <summary>Its name on the command line.</summary>
    public abstract string Name { get; }

    /// <summary>What it measures, for the help.</summary>
    public abstract string Summary { get; }

    /// <summary>The options that only it has.</summary>
    public virtual IEnumerable<Option> Options => [];

    /// <summary>Measures.</summary>
    /// <param name="subjects">Models and text.</param>
    /// <param name="arguments">The command line, for its own options.</param>
    /// <param name="stage">Where it is shown.</param>
    /// <param name="cancellation">Stops.</param>
    public abstract IReadOnlyList<Figure> Measure(Subjects subjects, ParseResult arguments, IStage stage, CancellationToken cancellation);
}
