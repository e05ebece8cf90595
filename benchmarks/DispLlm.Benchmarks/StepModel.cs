using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Benchmarks;

/// <summary>A model of some shape with random weights, and the matrix multiplications of its forward pass.</summary>
internal sealed class StepModel : IDisposable
{
    /// <summary>The weights of a LLaMA block.</summary>
    public static readonly WeightRole[] BlockRoles =
    [
        WeightRole.AttentionNorm, WeightRole.Query, WeightRole.Key, WeightRole.Value, WeightRole.AttentionOutput,
        WeightRole.MlpNorm, WeightRole.MlpGate, WeightRole.MlpUp, WeightRole.MlpDown,
    ];

    private static readonly WeightRole[] s_projections = [.. BlockRoles.Except([WeightRole.AttentionNorm, WeightRole.MlpNorm])];

    private readonly StepShape _shape;
    private readonly Tensor[] _inputs;

    public StepModel(StepShape shape, ITensorBackend backend)
    {
        using var noGradient = no_grad();
        _shape = shape;
        Model = shape.Model(backend);
        var spec = Model.Spec;
        using var random = new RandomSource(0).Stream("benchmark");
        var weights = Enumerable.Range(0, spec.NumLayers).SelectMany(block => BlockRoles.Select(role => Model.Weight(role, block)));
        foreach (Tensor weight in weights.Concat([Model.Weight(WeightRole.TokenEmbedding), Model.Weight(WeightRole.FinalNorm), Head]))
        {
            // Drawn on its device: billions of numbers take a CPU minutes.
            weight.normal_(0, 0.02);
        }

        _inputs = [.. s_projections.Select(
            role => random.Normal(shape.Tokens, Model.Weight(role, 0).shape[1]).to(backend.ComputeType).to(backend.Device))];
        HeadInput = random.Normal(shape.Tokens, spec.HiddenSize).to(backend.ComputeType).to(backend.Device);
    }

    public PrunableModel Model { get; }

    private Tensor Head => Model.Weight(Model.Spec.TieWordEmbeddings ? WeightRole.TokenEmbedding : WeightRole.Head);

    public Tensor HeadInput { get; }

    /// <summary>
    /// The operations of attention (two matrix multiplications forward and four backward, half of each above the diagonal) over those of
    /// the projections (forward and input gradients).
    /// </summary>
    public double AttentionShare()
    {
        var spec = Model.Spec;
        var counter = new ParameterCounter(spec);
        double attention = 6.0 * spec.NumLayers * spec.QuerySize * _shape.Tokens * _shape.Length;
        double weights = 4.0 * _shape.Tokens * (counter.Dense.BlockWeights + ((double)spec.HiddenSize * spec.VocabularySize));
        return attention / weights;
    }

    /// <summary>The matrix multiplications of a dense forward pass without attention's scores, <paramref name="times"/> times.</summary>
    public void MatMuls(int times)
    {
        using var noGradient = no_grad();
        for (int i = 0; i < times; i++)
        {
            for (int block = 0; block < Model.Spec.NumLayers; block++)
            {
                for (int j = 0; j < _inputs.Length; j++)
                {
                    nn.functional.linear(_inputs[j], Model.Weight(s_projections[j], block)).Dispose();
                }
            }

            nn.functional.linear(HeadInput, Head).Dispose();
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
