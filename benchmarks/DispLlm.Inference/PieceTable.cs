using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Inference;

/// <summary>What the time of a block is spent on: each piece by itself, and the rest of a whole forward pass.</summary>
internal static class PieceTable
{
    public static void Print(Settings settings, TextWriter output)
    {
        output.WriteLine(settings + " Shares of a block's time; the last column is everything that is neither a matrix multiplication with "
            + "weights nor attention.\n");
        string[] names = [.. BlockPieces.Names];
        output.WriteLine($"| kept | | {string.Join(" | ", names)} | other | all but multiplications and attention |");
        output.WriteLine("|---|---|" + string.Concat(names.Select(_ => "---|")) + "---|---|");
        bool denseIsDone = false;
        foreach (double keep in settings.Keep)
        {
            using var pair = ModelPair.Make(settings, keep);
            foreach (var use in settings.Cases)
            {
                if (!denseIsDone)
                {
                    output.WriteLine(Row(settings, "all", pair.Dense, use));
                }

                output.WriteLine(Row(settings, keep.ToString("P0", CultureInfo.InvariantCulture), pair.Pruned, use));
                output.Flush();
            }

            denseIsDone = true;
        }
    }

    private static string Row(Settings settings, string kept, PrunableModel model, Case use)
    {
        var turns = new Turns(settings);
        var (turn, cache) = use.Prepare(model, tokens: 1);
        using (cache)
        using (var pieces = new BlockPieces(model, use, turns.Now))
        {
            int repetitions = turns.Repetitions(turn);
            turns.Time(pieces.Pass, repetitions);
            pieces.TakeSeconds();
            double[] whole = new double[settings.Rounds];
            double[][] parts = new double[settings.Rounds][];
            for (int round = 0; round < settings.Rounds; round++)
            {
                whole[round] = turns.Time(turn, repetitions).TotalSeconds;
                turns.Time(pieces.Pass, repetitions);
                parts[round] = pieces.TakeSeconds();
            }

            double[] shares =
                [.. BlockPieces.Names.Select((_, piece) => Turns.Median(parts.Select(part => part[piece])) / Turns.Median(whole))];
            double rest = 1 - shares[0] - shares[1];
            var all = shares.Append(1 - shares.Sum()).Append(rest);
            return $"| {kept} | {use} | "
                + $"{string.Join(" | ", all.Select(share => share.ToString("P1", CultureInfo.InvariantCulture)))} |";
        }
    }
}
