using System.Diagnostics;
using TorchSharp;

namespace DispLlm.Inference;

/// <summary>Times several actions alternately, so that a machine whose speed drifts affects all of them.</summary>
internal sealed class Turns(Settings settings)
{
    private static readonly TimeSpan s_turn = TimeSpan.FromMilliseconds(100), s_warming = TimeSpan.FromSeconds(1);

    /// <summary>Seconds of each action in each round.</summary>
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

    /// <summary>How often an action is repeated in one turn, so that the clock can measure it. Trying it also warms it up, until the JIT
    /// has optimized it.</summary>
    public int Repetitions(Action thing)
    {
        var once = Time(thing, 1);
        if (once > s_turn)
        {
            return 1;
        }

        once = Time(thing, (int)(s_warming / once)) / (int)(s_warming / once);
        return Math.Max(1, (int)(s_turn / once));
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

    /// <summary>The clock, after an asynchronous device has finished.</summary>
    public TimeSpan Now()
    {
        if (settings.OnGpu)
        {
            torch.cuda.synchronize();
        }

        return Read();
    }

    private TimeSpan Read() => settings.ProcessorTime ? Environment.CpuUsage.TotalTime : Stopwatch.GetElapsedTime(0);
}
