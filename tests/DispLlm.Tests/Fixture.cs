using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>A tiny checkpoint with the outputs that Hugging Face transformers computes for it.</summary>
public sealed class Fixture : IDisposable
{
    private readonly SafetensorsFile _expected;

    public Fixture(string name)
    {
        Name = name;
        Folder = GetFolder(name);
        _expected = SafetensorsFile.Open(Path.Combine(Folder, "expected.safetensors"));
        Facts = JsonDocument.Parse(File.ReadAllText(Path.Combine(Folder, "expected.json"))).RootElement;
    }

    public string Name { get; }

    public string Folder { get; }

    public JsonElement Facts { get; }

    public static string GetFolder(string name) => Path.Combine(AppContext.BaseDirectory, "Fixtures", name);

    public bool Has(string tensor) => _expected.Tensors.Any(info => info.Name == tensor);

    public Tensor Expected(string tensor) => _expected.Read(tensor);

    /// <summary>The fixture's masks as the flat gate vector.</summary>
    public Tensor Gates(GateLayout layout)
    {
        using var scope = NewDisposeScope();
        var parts = layout.Sites.Select(site => site.Site == SelectionSite.AttentionGroups
            ? ones(site.Size) : Expected($"mask.{site.Block}.{(int)site.Site}").to(ScalarType.Float32)).ToArray();
        return cat(parts).MoveToOuterDisposeScope();
    }

    /// <summary>The fixture's masks as a plan.</summary>
    public SelectionPlan Plan(IPrunableModel model, NormOrder order)
    {
        using var gates = Gates(model.GateLayout);
        return TestPlans.FromGates(model, gates, order);
    }

    public void Dispose() => _expected.Dispose();
}

/// <summary>Comparison with a reference: the largest difference relative to the reference's largest value.</summary>
public static class Close
{
    public static void Within(double tolerance, Tensor expected, Tensor actual, string what)
    {
        using var scope = NewDisposeScope();
        Assert.Equal(expected.shape, actual.shape);
        Tensor reference = expected.to(ScalarType.Float64), computed = actual.to(ScalarType.Float64).cpu();
        double scale = Math.Max(reference.abs().max().ToDouble(), 1e-12);
        double difference = (reference - computed).abs().max().ToDouble() / scale;
        Assert.True(difference <= tolerance, $"{what}: differs by {difference:E2} of the largest value, more than {tolerance:E0}.");
    }
}
