using DispLlm.Export;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>Every family, dense and pruned in every layout, computes in ONNX Runtime what it computes here.</summary>
public sealed class OnnxFixtureTests
{
    /// <summary>The fixtures of families that are built in.</summary>
    public static TheoryData<string> Fixtures => [.. Directory.GetDirectories(Path.Combine(AppContext.BaseDirectory, "Fixtures"))
        .Where(folder => File.Exists(Path.Combine(folder, "expected.safetensors"))).Select(folder => Path.GetFileName(folder)!)
        .Where(name => name != "seed-oss").Order()];

    [Theory]
    [MemberData(nameof(Fixtures))]
    public async Task Prefill_and_decode_step_give_the_same_logits(string name)
    {
        using var folder = new TemporaryFolder();
        using var fixture = new Fixture(name);
        using var model = PrunableModel.Load(fixture.Folder);
        await AssertSameAsync(fixture, fixture.Folder, folder.Below("dense"));
        int count = 0;
        foreach (var plan in OnnxPlans.Create(model))
        {
            string pruned = folder.Below($"pruned{++count}");
            await new PrunedModelBuilder(fixture.Folder, plan).BuildAsync(pruned);
            await AssertSameAsync(fixture, pruned, pruned + ".onnx");
        }
    }

    /// <summary>The first row of the fixture's tokens: all but the last two at once, then each alone.</summary>
    private static async Task AssertSameAsync(Fixture fixture, string checkpoint, string target)
    {
        var result = await OnnxExport.WriteAsync(checkpoint, target, new OnnxExportOptions { AllLogits = true });
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var model = PrunableModel.Load(checkpoint);
        using var session = new OnnxSession(result.Path);

        // LongRoPE changes its frequencies beyond the context that is written.
        Tensor tokens = fixture.Expected("input_ids").narrow(0, 0, 1);
        tokens = tokens.narrow(1, 0, Math.Min(tokens.size(1), GenAiFolder.ContextLength(target)));
        Tensor expected = model.Logits(tokens);
        long first = tokens.size(1) - 2;
        Tensor[] steps = tokens.split([first, 1, 1], 1);
        Tensor actual = cat([.. steps.Select(session.Read)], 1);
        string plan = model.Plan is { } pruned ? $"{pruned.Layout}, {pruned.NormOrder}" : "dense";
        Close.Within(1e-4, expected, actual, $"{fixture.Name}, {plan}");
        int without = model.Plan?.Blocks.Count(block => block.AttentionGroups.Count == 0) ?? 0;
        Assert.Equal(model.Spec.NumLayers - without, session.Cache.Count);
    }
}
