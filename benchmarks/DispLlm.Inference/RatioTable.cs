using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Inference;

/// <summary>Time beside parameters and operations, dense to pruned.</summary>
internal static class RatioTable
{
    public static void Print(Settings settings, TextWriter output)
    {
        output.WriteLine(settings + "\n");
        output.WriteLine("| kept | | parameters | operations | time | time / parameters | time / operations | dense / matrix "
            + "multiplications alone |\n|---|---|---|---|---|---|---|---|");
        foreach (double keep in settings.Keep)
        {
            using var pair = ModelPair.Make(settings, keep);
            foreach (var use in settings.Cases)
            {
                output.WriteLine(Row(settings, keep, pair, use));
                output.Flush();
            }
        }
    }

    private static string Row(Settings settings, double keep, ModelPair pair, Case use)
    {
        var (dense, first) = use.Prepare(pair.Dense, settings.Tokens);
        var (pruned, second) = use.Prepare(pair.Pruned, settings.Tokens);
        using (first)
        using (second)
        {
            double[][] seconds = new Turns(settings).Take(dense, pruned, MatMuls(settings, pair.Dense, use));
            double parameters = (double)pair.DenseWeights / pair.PrunedWeights, time = Turns.Ratio(seconds[0], seconds[1]);
            double operations = use.Operations(pair.Dense.Spec, pair.DenseWeights) / use.Operations(pair.Dense.Spec, pair.PrunedWeights);
            return string.Create(
                CultureInfo.InvariantCulture,
                $"| {keep:P0} | {use} | {parameters:F2} | {operations:F2} | {time:F2} | **{time / parameters:F2}** | "
                    + $"{time / operations:F2} | {Turns.Ratio(seconds[0], seconds[2]):F2} |");
        }
    }

    /// <summary>libtorch's matrix multiplications of the dense blocks and nothing else.</summary>
    private static Action MatMuls(Settings settings, PrunableModel model, Case use)
    {
        var roles = ParameterCatalog.BlockParameters(model.Spec, 0).Where(part => part.Shape.Count == 2)
            .Select(part => part.Role).ToArray();
        var inputs = roles.ToDictionary(
            role => role, role => ones([use.Batch, use.Length, model.Weight(role, 0).shape[1]], settings.Type, model.Backend.Device));
        return () =>
        {
            for (int i = 0; i < (use.Decodes ? settings.Tokens : 1); i++)
            {
                for (int block = 0; block < model.Spec.NumLayers; block++)
                {
                    foreach (var role in roles)
                    {
                        nn.functional.linear(inputs[role], model.Weight(role, block)).Dispose();
                    }
                }
            }
        };
    }
}
