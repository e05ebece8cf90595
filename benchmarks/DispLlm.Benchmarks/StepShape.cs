using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Benchmarks;

/// <summary>The shape of a measured learning step.</summary>
/// <param name="Name">The name of the shape.</param>
/// <param name="Batch">Sequences of the step.</param>
/// <param name="Length">Tokens of a sequence.</param>
/// <param name="Config">The model's <c>config.json</c>.</param>
internal sealed record StepShape(string Name, int Batch, int Length, string Config)
{
    public static StepShape SmolLm2 { get; } = new(
        "SmolLM2's shape",
        1,
        512,
        """
        {"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
         "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192, "tie_word_embeddings": true}
        """);

    /// <summary>LLaMA-2 7B, or some of its blocks.</summary>
    public static StepShape Llama2(int blocks, int batch = 1) => new(
        $"LLaMA-2 7B's shape, {blocks} blocks",
        batch,
        2048,
        $$"""
        {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": {{blocks}}, "num_attention_heads": 32,
         "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096}
        """);

    /// <summary>Tokens of the step.</summary>
    public int Tokens => Batch * Length;

    /// <summary>A model of this shape with uninitialized weights.</summary>
    public PrunableModel Model(ITensorBackend backend) => PrunableModel.FromConfig(ModelConfig.Parse(Config, Name), backend);
}

/// <summary>The device of a step.</summary>
internal static class StepDevice
{
    public static ITensorBackend Backend(ScalarType type, bool onGpu) => onGpu ? TorchBackend.Cuda(0, type) : TorchBackend.Cpu(type);

    /// <summary>Waits for a device that computes asynchronously.</summary>
    public static void Wait(ITensorBackend backend)
    {
        if (backend.Device.type == DeviceType.CUDA)
        {
            torch.cuda.synchronize();
        }
    }
}
