using TorchSharp;

namespace DispLlm.Tests.Strategies;

public sealed class StepMemoryTests
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
        var step = StepMemory.Of(spec, torch.ScalarType.BFloat16, 1, 2048, onAccelerator: true);
        double hypernetwork = 16.0 * 128 * new GateLayout(spec).Count;
        Assert.InRange(step.Of(ActivationMemory.BlockInputs) + hypernetwork, 16e9, 18e9);
        Assert.True(step.Of(ActivationMemory.Everything) + hypernetwork > 24e9);
        Assert.Equal(32 * step.OneBlock, step.AllBlocks);
        Assert.Equal(2L * new ParameterCounter(spec).Dense.WholeModel, step.Weights);
        Assert.Throws<ArgumentOutOfRangeException>(() => step.Of(ActivationMemory.Automatic));
    }

    [Theory]
    [InlineData(long.MaxValue, false)]
    [InlineData(1000L, true)]
    [InlineData(null, true)]
    public void Block_inputs_are_kept_where_all_does_not_fit(long? available, bool blockInputs)
    {
        using var model = PrunableModel.Load(Fixture.FolderOf("llama-mha"), new Cramped(available));

        // A long text takes more than the weights of a tiny model, which is the rule where a backend does not know.
        Assert.Equal(blockInputs, StepMemory.KeepsBlockInputs(ActivationMemory.Automatic, model, 64, 128));
        Assert.True(StepMemory.KeepsBlockInputs(ActivationMemory.BlockInputs, model, 1, 2));
        Assert.False(StepMemory.KeepsBlockInputs(ActivationMemory.Everything, model, 64, 128));
    }

    /// <summary>The CPU, with as much memory as a test says.</summary>
    private sealed class Cramped(long? available) : ITensorBackend
    {
        private readonly TorchBackend _cpu = TorchBackend.Cpu();

        public torch.Device Device => _cpu.Device;

        public torch.ScalarType ComputeType => _cpu.ComputeType;

        public torch.Device DeviceOfBlock(int block, int blocks) => _cpu.DeviceOfBlock(block, blocks);

        public BackendMemory Memory() => _cpu.Memory() with { AvailableBytes = available };

        public RandomSource Random(long seed) => _cpu.Random(seed);
    }
}
