using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Inference;

/// <summary>A dense model of random weights and the model pruned from it, each loaded from its folder.</summary>
internal sealed class ModelPair : IDisposable
{
    private ModelPair(PrunableModel dense, PrunableModel pruned)
    {
        Dense = dense;
        Pruned = pruned;
        var counter = new ParameterCounter(dense.Spec);
        DenseWeights = counter.Dense.BlockWeights / dense.Spec.NumLayers;
        PrunedWeights = counter.Count(pruned.Plan!).BlockWeights / dense.Spec.NumLayers;
    }

    public PrunableModel Dense { get; }

    public PrunableModel Pruned { get; }

    /// <summary>Weights of a dense block.</summary>
    public long DenseWeights { get; }

    /// <summary>Weights of a pruned block, on average.</summary>
    public long PrunedWeights { get; }

    /// <summary>Creates a pair in a temporary folder, which is deleted after loading.</summary>
    public static ModelPair Make(Settings settings, double keep)
    {
        string folder = Path.Combine(Path.GetTempPath(), $"displlm-inference-{Guid.NewGuid():N}");
        string cut = Path.Combine(folder, "pruned");
        Directory.CreateDirectory(folder);
        try
        {
            Write(folder, settings);
            var backend = settings.Backend;
            var dense = PrunableModel.Load(folder, backend);
            var request =
                new SelectionRequest { Model = dense, Budget = PruningBudget.FromKeepFraction(keep), WidthMultiple = settings.Multiple };
            new PrunedModelBuilder(folder, new RandomSelection().SelectAsync(request).GetAwaiter().GetResult().Plan).BuildAsync(cut)
                .GetAwaiter().GetResult();
            return new ModelPair(dense, PrunableModel.Load(cut, backend));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    public void Dispose()
    {
        Dense.Dispose();
        Pruned.Dispose();
    }

    private static void Write(string folder, Settings settings)
    {
        string config = Path.Combine(folder, "config.json");
        File.WriteAllText(config, settings.Shape.ToJson(settings.Blocks));
        var family = new LlamaFamily();
        CheckpointTensor[] slots =
            [.. ParameterCatalog.CheckpointTensors(DecoderSpec.Read(ModelConfig.Load(config), family), family)];
        using var random = new RandomSource(0).Stream("benchmark");
        using var writer = SafetensorsWriter.Create(
            Path.Combine(folder, "model.safetensors"), slots.Select(slot => new TensorInfo(slot.Name, settings.Type, [.. slot.Shape])));
        foreach (var slot in slots)
        {
            using var scope = NewDisposeScope();
            long[] shape = [.. slot.Shape];
            writer.Write(slot.Name, (shape.Length == 1 ? ones(shape) : random.Normal(shape) * 0.02).to(settings.Type));
        }

        writer.Complete();
    }
}
