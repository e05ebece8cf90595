using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Benchmarks;

/// <summary>A model of SmolLM2-135M's shape with random weights, and the plain matrix products that its forward pass needs.</summary>
internal sealed class SmolLm2Shape : IDisposable
{
    public const int Tokens = 512;

    /// <summary>The weights of a LLaMA block.</summary>
    public static readonly WeightRole[] BlockRoles =
    [
        WeightRole.AttentionNorm, WeightRole.Query, WeightRole.Key, WeightRole.Value, WeightRole.AttentionOutput,
        WeightRole.MlpNorm, WeightRole.MlpGate, WeightRole.MlpUp, WeightRole.MlpDown,
    ];

    private static readonly WeightRole[] s_projections = [.. BlockRoles.Except([WeightRole.AttentionNorm, WeightRole.MlpNorm])];

    private readonly Tensor[] _inputs;

    public SmolLm2Shape(ScalarType type)
    {
        using var noGradient = no_grad();
        Model = PrunableModel.FromConfig(
            ModelConfig.Parse(
                """
                {"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
                 "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192, "tie_word_embeddings": true}
                """,
                "SmolLM2's shape"),
            TorchBackend.Cpu(type));
        var spec = Model.Spec;
        using var random = new RandomSource(0).Stream("benchmark");
        var weights = Enumerable.Range(0, spec.Blocks).SelectMany(block => BlockRoles.Select(role => Model.Weight(role, block)));
        foreach (Tensor weight in weights.Concat([Model.Weight(WeightRole.TokenEmbedding), Model.Weight(WeightRole.FinalNorm)]))
        {
            using var scope = NewDisposeScope();
            weight.copy_(random.Normal(weight.shape) * 0.02);
        }

        _inputs = [.. s_projections.Select(role => random.Normal(Tokens, Model.Weight(role, 0).shape[1]).to(type))];
        HeadInput = random.Normal(Tokens, spec.HiddenSize).to(type);
    }

    public PrunableModel Model { get; }

    public Tensor HeadInput { get; }

    /// <summary>
    /// What attention's products (two forward and four back, half of each behind the diagonal) add to those with weights (forward and input gradients): operations over operations.
    /// </summary>
    public static double AttentionShare(DecoderSpec spec)
    {
        var counter = new ParameterCounter(spec);
        double attention = 6.0 * spec.Blocks * spec.QuerySize * Tokens * Tokens;
        double weights = 4.0 * Tokens * (counter.Dense.BlockWeights + ((double)spec.HiddenSize * spec.VocabularySize));
        return attention / weights;
    }

    /// <summary>The products of one dense forward pass, attention's scores left out, <paramref name="times"/> times.</summary>
    public void Products(int times)
    {
        using var noGradient = no_grad();
        for (int i = 0; i < times; i++)
        {
            for (int block = 0; block < Model.Spec.Blocks; block++)
            {
                for (int j = 0; j < _inputs.Length; j++)
                {
                    nn.functional.linear(_inputs[j], Model.Weight(s_projections[j], block)).Dispose();
                }
            }

            nn.functional.linear(HeadInput, Model.Weight(WeightRole.TokenEmbedding)).Dispose();
        }
    }

    public void Dispose()
    {
        Model.Dispose();
        HeadInput.Dispose();
        foreach (var tensor in _inputs)
        {
            tensor.Dispose();
        }
    }
}
