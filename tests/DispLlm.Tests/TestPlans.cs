using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>Plans from gates and back.</summary>
public static class TestPlans
{
    /// <summary>The plan that keeps the open gates of a flat vector of 0 and 1.</summary>
    public static SelectionPlan FromGates(IPrunableModel model, Tensor gates, NormOrder order)
    {
        float[] open = gates.data<float>().ToArray();
        IReadOnlyList<int> Kept(int block, SelectionSite site)
        {
            var range = model.GateLayout[block, site];
            return [.. Enumerable.Range(0, range.Size).Where(i => open[range.Offset + i] == 1)];
        }

        return new SelectionPlan(
            ModelShape.FromSpec(model.Spec),
            [
                .. Enumerable.Range(0, model.Spec.NumLayers).Select(block =>
                    new BlockSelection(SiteMap.Create(site => Kept(block, site)))),
            ])
        {
            Family = model.Family.Name,
            NormOrder = order,
        };
    }
}

/// <summary>A folder that goes when the test ends.</summary>
public sealed class TemporaryFolder : IDisposable
{
    public TemporaryFolder() => Directory.CreateDirectory(Path);

    public string Path { get; } = System.IO.Path.Combine(System.IO.Path.GetTempPath(), "displlm-test-" + Guid.NewGuid().ToString("N"));

    public string Below(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
