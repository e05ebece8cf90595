using DispLlm;
using DispLlm.Modeling;

namespace PruneFirstModel;

/// <summary>Small charts for the terminal.</summary>
internal static class Picture
{
    private const string Levels = "▁▂▃▄▅▆▇█";

    /// <summary>How much each block keeps at each site: one row a site, one bar a block.</summary>
    public static void Widths(SelectionPlan plan)
    {
        Console.WriteLine("Kept widths, one bar a block, first block left:");
        foreach (var site in SelectionSites.All)
        {
            int size = plan.Model.SiteSize(site);
            string bars = string.Concat(plan.Blocks.Select(block =>
                Levels[Math.Max(1, (int)Math.Ceiling(block[site].Count * 8.0 / size)) - 1]));
            string widths = string.Join(' ', plan.Blocks.Select(block => block[site].Count));
            Console.WriteLine($"  S{(int)site} {site,-15} {bars}  {widths}  of {size}");
        }
    }

    /// <summary>A table of three columns.</summary>
    public static void Table(params (string What, string Before, string After)[] rows)
    {
        int what = rows.Max(row => row.What.Length), before = rows.Max(row => row.Before.Length);
        foreach (var row in rows)
        {
            Console.WriteLine($"  {row.What.PadRight(what)}  {row.Before.PadLeft(before)}  {row.After}");
        }
    }
}

/// <summary>Shows learning on one line; on a line every 25 steps where the output is not a terminal.</summary>
internal sealed class StepLine : IProgress<PruningProgress>
{
    public void Report(PruningProgress value)
    {
        if (value.Phase != PruningPhase.Learning)
        {
            return;
        }

        string line = $"step {value.Step}/{value.Steps}  cross-entropy {value.CrossEntropy:F3}  budget loss {value.BudgetLoss:F4}  " +
            $"kept {value.KeptFraction:P1}  {value.TokensPerSecond:N0} tokens/s  {value.TimeLeft.TotalSeconds:F0} s left";
        if (!Console.IsOutputRedirected)
        {
            Console.Write("\r" + line.PadRight(100) + (value.Step == value.Steps ? "\n" : string.Empty));
        }
        else if (value.Step % 25 == 0 || value.Step == value.Steps)
        {
            Console.WriteLine(line);
        }
    }
}
