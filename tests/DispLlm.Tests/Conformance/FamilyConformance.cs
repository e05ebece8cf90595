using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Conformance;

/// <summary>
/// What every family has to hold, on each of its fixtures. A family's class derives from this and names its fixtures; nothing else.
/// </summary>
public abstract class FamilyConformance
{
    private const double Tolerance = 1e-4;

    protected static void Run(string name, Action<Fixture, PrunableModel> check)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var fixture = new Fixture(name);
        using var model = PrunableModel.Load(fixture.Folder);
        check(fixture, model);
    }

    protected static void DenseLogits(string name) => Run(name, (fixture, model) =>
        Close.Within(Tolerance, fixture.Expected("logits"), model.Logits(fixture.Expected("input_ids")), name));

    protected static void MaskedLogits(string name, NormOrder order) => Run(name, (fixture, model) =>
    {
        string tensor = order == NormOrder.NormThenSelect ? "masked_logits" : "masked_logits_select_then_norm";
        var gates = new Gates(fixture.Gates(model.GateLayout), order);
        Close.Within(Tolerance, fixture.Expected(tensor), model.Logits(fixture.Expected("input_ids"), gates), name);
    });

    protected static void GreedyContinuation(string name, bool masked) => Run(name, (fixture, model) =>
    {
        long[] expected = fixture.Expected(masked ? "masked_generated" : "generated").data<long>().ToArray();
        Tensor prompt = fixture.Expected("input_ids").narrow(0, 0, 1);
        var options = new GenerationOptions
        {
            MaxNewTokens = expected.Length - (int)prompt.shape[1],
            Gates = masked ? new Gates(fixture.Gates(model.GateLayout)) : null,
        };
        Assert.Equal(expected, TextGenerator.Continue(model, prompt, options).data<long>().ToArray());
    });

    protected static void ParameterCounts(string name) => Run(name, (fixture, model) =>
    {
        var counter = new ParameterCounter(model.Spec);
        Assert.Equal(fixture.Facts.GetProperty("block_linear_weights").GetInt64(), counter.Dense.BlockWeights);
        Assert.Equal(fixture.Facts.GetProperty("all_parameters").GetInt64(), counter.Dense.WholeModel);
        Assert.Equal(
            fixture.Facts.GetProperty("block_linear_weights_kept_by_masks").GetInt64(),
            counter.Of(fixture.Plan(model, NormOrder.NormThenSelect)).BlockWeights);
    });

    /// <summary>Cut by the fixture's masks, saved and loaded, the model computes what the masked dense one does.</summary>
    protected static void PrunedEqualsMasked(string name, NormOrder order) => Run(name, (fixture, model) =>
    {
        using var folder = new TemporaryFolder();
        string target = folder.Below("pruned");
        var plan = fixture.Plan(model, order);
        new PrunedModelBuilder(fixture.Folder, plan).Build(target);
        using var pruned = PrunableModel.Load(target);
        Assert.Equal(plan.Blocks, pruned.Plan!.Blocks);
        Tensor tokens = fixture.Expected("input_ids");
        Tensor masked = model.Logits(tokens, new Gates(fixture.Gates(model.GateLayout), order));
        Close.Within(Tolerance, masked, pruned.Logits(tokens), name);
        if (order == NormOrder.NormThenSelect)
        {
            Close.Within(Tolerance, fixture.Expected("masked_logits"), pruned.Logits(tokens), name);
        }
    });

    /// <summary>A plan that keeps everything writes the very bytes of every weight, under the very names.</summary>
    protected static void KeepingEverythingChangesNothing(string name) => Run(name, (fixture, model) =>
    {
        using var folder = new TemporaryFolder();
        string target = folder.Below("whole");
        new PrunedModelBuilder(fixture.Folder, SelectionPlan.Dense(model.Spec) with { Family = model.Family.Name }).Build(target);
        using var dense = CheckpointFolder.Open(fixture.Folder);
        using var whole = CheckpointFolder.Open(target);
        foreach (string tensor in dense.TensorNames.Where(tensor => !model.Family.IsHarmlessExtra(tensor)))
        {
            Assert.Equal(dense.Info(tensor).Shape, whole.Info(tensor).Shape);
            Assert.True(dense.Bytes(tensor).SequenceEqual(whole.Bytes(tensor)), tensor);
        }
    });

    protected static void BrokenTensorsAreNamed(string name)
    {
        using var scope = NewDisposeScope();
        using var folder = new TemporaryFolder();
        using var checkpoint = CheckpointFolder.Open(Fixture.FolderOf(name));
        var tensors = checkpoint.TensorNames.ToDictionary(tensor => tensor, tensor => checkpoint.Read(tensor));
        var family = ModelFamilies.BuiltIn.Of(checkpoint.Config);
        string victim = WeightCatalog.Of(family.ReadSpec(checkpoint.Config), family).First(slot => slot.Role == WeightRole.MlpUp).Name;

        void Refused(string what, Dictionary<string, Tensor> changed, string culprit)
        {
            string broken = folder.Below(what);
            Directory.CreateDirectory(broken);
            File.Copy(Path.Combine(checkpoint.FolderPath, "config.json"), Path.Combine(broken, "config.json"));
            Write(Path.Combine(broken, "model.safetensors"), changed);
            var error = Assert.Throws<CheckpointException>(() => PrunableModel.Load(broken));
            Assert.Contains(culprit, error.Message, StringComparison.Ordinal);
        }

        Refused("missing", tensors.Where(entry => entry.Key != victim).ToDictionary(), victim);
        Refused("extra", new(tensors) { ["model.layers.0.adapter.weight"] = ones(2, 2) }, "model.layers.0.adapter.weight");
        Refused("misshapen", new(tensors) { [victim] = tensors[victim].t().contiguous() }, victim);
    }

    private static void Write(string path, Dictionary<string, Tensor> tensors)
    {
        using var writer = SafetensorsWriter.Create(path, tensors.Select(entry => new TensorInfo(entry.Key, entry.Value.dtype, entry.Value.shape)));
        foreach (var (name, tensor) in tensors)
        {
            writer.Write(name, tensor);
        }

        writer.Complete();
    }
}
