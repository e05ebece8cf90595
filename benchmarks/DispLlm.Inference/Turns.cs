using System.Diagnostics;

namespace DispLlm.Inference;

/// <summary>Times several things in turns, round by round, so that a machine whose speed drifts treats them alike.</summary>
internal sealed class Turns(Settings settings)
{
    private static readonly TimeSpan s_shortest = TimeSpan.FromMilliseconds(5);

    /// <summary>Seconds of each thing in each round.</summary>
    public double[][] Take(params IReadOnlyList<Action> things)
    {
        int[] repetitions = [.. things.Select(Repetitions)];
        double[][] seconds = [.. things.Select(_ => new double[settings.Rounds])];
        for (int round = 0; round < settings.Rounds; round++)
        {
            for (int i = 0; i < things.Count; i++)
            {
                seconds[i][round] = Time(things[i], repetitions[i]).TotalSeconds / repetitions[i];
            }
        }

        return seconds;
    }

    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }

    /// <summary>The median of the ratios round by round.</summary>
    public static double Ratio(double[] over, double[] under) => Median(over.Zip(under, (a, b) => a / b));

    /// <summary>How often something is done in one turn, so that the clock can tell it; trying it out also compiles and warms it.</summary>
    public int Repetitions(Action thing)
    {
        int repetitions = 1;
        if (Time(thing, repetitions) > 20 * s_shortest)
        {
            return repetitions;
        }

        while (Time(thing, repetitions) < s_shortest)
        {
            repetitions *= 2;
        }

        return repetitions;
    }

    public TimeSpan Time(Action thing, int repetitions)
    {
        var start = Now();
        for (int i = 0; i < repetitions; i++)
        {
            thing();
        }

        return Now() - start;
    }

    public TimeSpan Now() => settings.ProcessorTime ? Environment.CpuUsage.TotalTime : Stopwatch.GetElapsedTime(0);
}
