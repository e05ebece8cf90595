using TorchSharp;

namespace DispLlm.Tests.Strategies;

public sealed class TrainingMemoryEstimateTests
{
    private const string Llama7B =
        """
        {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096}
        """;

    [Fact]
    public void Seven_billion_parameters_and_2048_tokens_fit_a_card_of_24_GB_with_block_inputs_only()
    {
        var spec = DecoderSpec.Read(ModelConfig.Parse(Llama7B, "LLaMA-2 7B"), new LlamaFamily());
        var step = TrainingMemoryEstimate.Estimate(spec, torch.ScalarType.BFloat16, 1, 2048, onAccelerator: true);
        double hypernetwork = 16.0 * 128 * new GateLayout(spec).Count;
        Assert.InRange(step.Total(ActivationCheckpointing.PerBlock) + hypernetwork, 16e9, 18e9);
        Assert.True(step.Total(ActivationCheckpointing.None) + hypernetwork > 24e9);
        Assert.Equal(32 * step.OneBlock, step.AllBlocks);
        Assert.Equal(2L * new ParameterCounter(spec).Dense.WholeModel, step.Weights);
        Assert.Throws<ArgumentOutOfRangeException>(() => step.Total(ActivationCheckpointing.Automatic));
    }

    [Fact]
    public void In_float32_one_long_window_takes_what_two_of_half_its_length_take()
    {
        var spec = DecoderSpec.Read(ModelConfig.Parse(Llama7B, "LLaMA-2 7B"), new LlamaFamily());
        Assert.Equal(TrainingMemoryEstimate.Estimate(spec, torch.ScalarType.Float32, 2, 2048, onAccelerator: false),
            TrainingMemoryEstimate.Estimate(spec, torch.ScalarType.Float32, 1, 4096, onAccelerator: false));
    }

    [Theory]
    [InlineData(long.MaxValue, false)]
    [InlineData(1000L, true)]
    [InlineData(null, true)]
    public void Block_inputs_are_kept_where_all_does_not_fit(long? available, bool blockInputs)
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"), new Cramped(available));

        // A long text takes more than the weights of a tiny model, which is the rule where a backend does not know.
        using var window = torch.zeros(64, 128, torch.ScalarType.Int64);
        var expected = blockInputs ? ActivationCheckpointing.PerBlock : ActivationCheckpointing.None;
        Assert.Equal(expected, new ActivationCheckpointingPolicy(ActivationCheckpointing.Automatic, model).For(window));
        Assert.Equal(
            ActivationCheckpointing.PerBlock, new ActivationCheckpointingPolicy(ActivationCheckpointing.PerBlock, model).For(window));
        Assert.Equal(ActivationCheckpointing.None, new ActivationCheckpointingPolicy(ActivationCheckpointing.None, model).For(window));
    }

    [Fact]
    public void What_is_kept_is_chosen_once_for_a_shape_whatever_the_first_step_has_taken()
    {
        var backend = new Cramped(long.MaxValue);
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"), backend);
        using var window = torch.zeros(64, 128, torch.ScalarType.Int64);
        using var another = torch.zeros(64, 127, torch.ScalarType.Int64);
        var choice = new ActivationCheckpointingPolicy(ActivationCheckpointing.Automatic, model);
        Assert.Equal(ActivationCheckpointing.None, choice.For(window));
        backend.Available = 1000;
        Assert.Equal(ActivationCheckpointing.None, choice.For(window));
        Assert.Equal(ActivationCheckpointing.PerBlock, choice.For(another));
    }

    [Fact]
    public void A_trainer_asks_once_what_is_free()
    {
        var backend = new Cramped(long.MaxValue);
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"), backend);
        using var trainer = new HypernetworkTrainer(model, PruningBudget.FromKeepFraction(0.5), new HypernetworkOptions { Steps = 3 });
        using var window = torch.zeros(1, 8, torch.ScalarType.Int64);
        using var uniforms = torch.full(model.GateLayout.Count, 0.5f);
        int before = backend.Asked;
        for (int step = 0; step < 3; step++)
        {
            trainer.Step([window, window], uniforms);
        }

        Assert.Equal(before + 1, backend.Asked);
    }

    /// <summary>The CPU, with as much memory as a test says.</summary>
    private sealed class Cramped(long? available) : ITensorBackend
    {
        private readonly TorchBackend _cpu = TorchBackend.Cpu();

        public long? Available { get; set; } = available;

        public int Asked { get; private set; }

        public torch.Device Device => _cpu.Device;

        public torch.ScalarType ComputeType => _cpu.ComputeType;

        public torch.Device GetBlockDevice(int block, int blocks) => _cpu.GetBlockDevice(block, blocks);

        public BackendMemory Memory()
        {
            Asked++;
            return _cpu.Memory() with { AvailableBytes = Available };
        }

        public RandomSource Random(long seed) => _cpu.Random(seed);
    }
}
