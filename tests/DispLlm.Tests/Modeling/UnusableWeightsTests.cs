using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Modeling;

/// <summary>Weights that are no numbers to compute with are named; a tied head that only the index knows does not matter.</summary>
public sealed class UnusableWeightsTests : IDisposable
{
    private const string Tied = "llama-gqa-biases-tied";
    private const string Victim = "model.layers.1.mlp.down_proj.weight";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(ScalarType.Int8, "I8")]
    [InlineData(ScalarType.Byte, "U8")]
    [InlineData(ScalarType.Int16, "I16")]
    [InlineData(ScalarType.Int32, "I32")]
    [InlineData(ScalarType.Int64, "I64")]
    [InlineData(ScalarType.Bool, "BOOL")]
    public void A_weight_of_integers_is_named_with_its_type(ScalarType type, string name)
    {
        Write("model.safetensors", (tensor, weight) => tensor == Victim ? weight.mul(100).to(type) : weight);
        foreach (var backend in (TorchBackend[])[TorchBackend.Cpu(), TorchBackend.Meta()])
        {
            var error = Assert.Throws<UnsupportedModelException>(() => PrunableModel.Load(_folder.Path, backend));
            Assert.Equal((Victim, name), (error.Key, error.Value));
            Assert.Contains("float checkpoint", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(Victim, Assert.Throws<UnsupportedModelException>(() => Prune()).Key);
    }

    [Fact]
    public void A_quantized_checkpoint_is_refused_with_the_remedy()
    {
        Write("model.safetensors", (_, weight) => weight);
        string config = _folder.Below("config.json");
        File.WriteAllText(
            config,
            File.ReadAllText(config).Replace(
                "{", """{"quantization_config": {"quant_method": "gptq", "bits": 4},""", StringComparison.Ordinal));
        var error = Assert.Throws<UnsupportedModelException>(() => PrunableModel.Load(_folder.Path));
        Assert.Equal("quantization_config", error.Key);
        Assert.Contains("float checkpoint", error.Message, StringComparison.Ordinal);
    }

    public static TheoryData<ScalarType, double> NonFinite => new MatrixTheoryData<ScalarType, double>(
        [ScalarType.Float64, ScalarType.Float32, ScalarType.Float16, ScalarType.BFloat16],
        [double.NaN, double.PositiveInfinity, double.NegativeInfinity]);

    [Theory]
    [MemberData(nameof(NonFinite))]
    public void NaN_and_infinity_are_named_with_their_tensor_before_anything_is_computed_or_written(ScalarType type, double value)
    {
        Write("model.safetensors", (tensor, weight) =>
        {
            var stored = weight.to(type, copy: true);
            if (tensor == Victim)
            {
                stored.view(-1)[^1] = value;
            }

            return stored;
        });
        Names(() => Use(new LoadOptions { MapWeights = false }));
        Names(() => Use(new LoadOptions()));
        Names(() => Prune());
        Assert.False(Directory.Exists(_folder.Below("pruned")));

        void Names(Action action)
        {
            var error = Assert.Throws<CheckpointException>(action);
            Assert.Equal(Victim, error.Key);
            Assert.Contains("NaN or infinity", error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_mapped_weight_is_named_at_every_use_until_it_is_mended()
    {
        Write("model.safetensors", (tensor, weight) => tensor == Victim ? weight.mul(double.NaN) : weight);
        using var model = PrunableModel.Load(_folder.Path);
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal(Victim, Assert.Throws<CheckpointException>(() => model.Logits(ones([1, 2], ScalarType.Int64))).Key);
        }
    }

    [Fact]
    public void A_tied_head_that_the_index_lists_and_no_shard_holds_is_not_missed()
    {
        WriteSharded(Tied);
        using var scope = NewDisposeScope();
        using var model = PrunableModel.Load(_folder.Path);
        using var plain = PrunableModel.Load(Fixture.GetFolder(Tied));
        Tensor tokens = arange(8, ScalarType.Int64).unsqueeze(0);
        Assert.Equal(plain.Logits(tokens).bytes, model.Logits(tokens).bytes);

        var plan = new RandomSelection().Select(new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.3) }).Plan;
        new PrunedModelBuilder(_folder.Path, plan).Build(_folder.Below("pruned"));
        using var pruned = PrunableModel.Load(_folder.Below("pruned"));
        Close.Within(1e-4, model.Logits(tokens, Gates.FromPlan(plan, model.Backend)), pruned.Logits(tokens), "pruned");
    }

    [Fact]
    public void A_head_that_is_not_tied_is_missed()
    {
        WriteSharded(Tied, config => config.Replace(
            "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", StringComparison.Ordinal));
        Assert.Equal("lm_head.weight", Assert.Throws<CheckpointException>(() => PrunableModel.Load(_folder.Path)).Key);
    }

    private void Use(LoadOptions options)
    {
        using var model = PrunableModel.Load(_folder.Path, null, options);
        model.Weight(WeightRole.MlpUp, 0);
    }

    /// <summary>Prunes the folder as it is, by a plan that was made elsewhere.</summary>
    private void Prune()
    {
        using var dense = PrunableModel.Load(Fixture.GetFolder(Tied));
        var plan = new RandomSelection().Select(new SelectionRequest { Model = dense, Budget = PruningBudget.FromRatio(0.3) }).Plan;
        new PrunedModelBuilder(_folder.Path, plan).Build(_folder.Below("pruned"));
    }

    private void WriteSharded(string fixture, Func<string, string>? config = null)
    {
        Write("part.safetensors", (_, weight) => weight, fixture, config);
        using var shard = SafetensorsFile.Open(_folder.Below("part.safetensors"));
        var names = shard.Tensors.Select(tensor => tensor.Name).Append("lm_head.weight");
        File.WriteAllText(
            _folder.Below("model.safetensors.index.json"),
            $$"""{"weight_map": { {{string.Join(", ", names.Select(name => $"\"{name}\": \"part.safetensors\""))}} } }""");
    }

    /// <summary>Copies a fixture with changed weights.</summary>
    private void Write(string file, Func<string, Tensor, Tensor> change, string fixture = Tied, Func<string, string>? config = null)
    {
        using var scope = NewDisposeScope();
        string folder = Fixture.GetFolder(fixture), text = File.ReadAllText(Path.Combine(folder, "config.json"));
        File.WriteAllText(_folder.Below("config.json"), config?.Invoke(text) ?? text);
        using var source = SafetensorsFile.Open(Path.Combine(folder, "model.safetensors"));
        var weights = source.Tensors.ToDictionary(tensor => tensor.Name, tensor => change(tensor.Name, source.Read(tensor.Name)));
        using var writer = SafetensorsWriter.Create(
            _folder.Below(file), weights.Select(weight => new TensorInfo(weight.Key, weight.Value.dtype, weight.Value.shape)));
        foreach (var (name, weight) in weights)
        {
            writer.Write(name, weight);
        }

        writer.Complete();
    }
}
