using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace DispLlm.Training;

/// <summary>
/// The network that learns the gates' logits (DISP-LLM, section 3.3; docs/method.md, Hypernetwork). One sequence position per selection
/// site that selects, in block order; a bidirectional GRU lets what one site removes depend on what the others keep. Not thread-safe.
/// <code>
/// z      : [N, 1, 32] ~ N(0, 1), fixed                N = 5 L in the paper's layout, 6 L with S6
/// h      = gelu(LayerNorm(biGRU(z)))                  [N, 128]
/// x_i    = h_i W_i^T                                  W_i: [size of site i, 128], no bias
/// </code>
/// Its <c>state_dict</c> has <c>z</c>, <c>gru.*</c>, <c>ln.*</c> and <c>heads.{i}.weight</c>.
/// </summary>
public sealed class Hypernetwork : nn.Module
{
    private const int InputSize = 32;
    private const int RecurrentSize = 64;

    /// <summary>Weights of each gate's logit.</summary>
    internal const int FeatureSize = 2 * RecurrentSize;

    private readonly Tensor? _input;
    private readonly GRU? _gru;
    private readonly LayerNorm? _norm;
    private readonly Parameter[] _heads;

    /// <summary>Creates a hypernetwork with fresh weights.</summary>
    /// <param name="layout">The gates to produce logits for.</param>
    /// <param name="random">Where the fresh weights and the fixed input come from.</param>
    /// <param name="device">Where its tensors live.</param>
    public Hypernetwork(GateLayout layout, RandomSource random, Device device)
        : this([.. (layout ?? throw new ArgumentNullException(nameof(layout))).Sites.Select(site => site.Size)], random, device,
            HypernetworkKind.Gru)
    {
    }

    internal Hypernetwork(IReadOnlyList<int> sizes, RandomSource random, Device device, HypernetworkKind kind)
        : base(nameof(Hypernetwork))
    {
        ArgumentNullException.ThrowIfNull(random);
        using var scope = NewDisposeScope();
        using var stream = random.Stream("hypernetwork");
        if (kind == HypernetworkKind.None)
        {
            _heads = [.. sizes.Select(size => new Parameter(zeros(size, ScalarType.Float32, device)))];
        }
        else
        {
            int features = kind == HypernetworkKind.Gru ? FeatureSize : InputSize;
            register_buffer("z", _input = stream.Normal(sizes.Count, 1, InputSize).to(device, copy: true).DetachFromDisposeScope());
            _gru = kind == HypernetworkKind.Gru ? nn.GRU(InputSize, RecurrentSize, bidirectional: true, device: device) : null;
            _norm = nn.LayerNorm(features, device: device);
            _heads = [.. sizes.Select(size => new Parameter(InitialWeight(stream, features, size, features).to(device, copy: true)))];
        }

        // Layers of libtorch are initialized from its global generator; every number of a run comes from the run's seed instead.
        using var noGradient = no_grad();
        foreach (var (_, parameter) in _gru?.named_parameters() ?? [])
        {
            parameter.copy_(InitialWeight(stream, RecurrentSize, parameter.shape));
        }

        foreach (var (name, layer) in new (string, nn.Module?)[] { ("gru", _gru), ("ln", _norm) })
        {
            if (layer is not null)
            {
                register_module(name, layer);
            }
        }

        for (int i = 0; i < _heads.Length; i++)
        {
            register_parameter($"heads.{i}.weight", _heads[i]);
        }

        foreach (var parameter in parameters())
        {
            parameter.DetachFromDisposeScope();
        }
    }

    /// <summary>The forward pass: the logits of all gates.</summary>
    /// <returns><c>[gates]</c>, float32, differentiable in the weights. The caller disposes it.</returns>
    public Tensor Logits()
    {
        using var scope = NewDisposeScope();
        if (_input is null)
        {
            return cat(_heads).MoveToOuterDisposeScope();
        }

        Tensor h = _gru is null ? _input : _gru.call(_input).Item1;
        h = nn.functional.gelu(_norm!.call(h.squeeze(1)));
        return cat([.. _heads.Select((head, i) => head.mv(h[i]))]).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    /// <remarks>Everything is registered by name already.</remarks>
    protected override void RegisterComponents()
    {
    }

    /// <summary>Uniform in ±1/sqrt(fan), as PyTorch initializes linear and recurrent layers.</summary>
    private static Tensor InitialWeight(RandomStream stream, int fan, params long[] shape)
    {
        double bound = 1 / Math.Sqrt(fan);
        return stream.Uniform(shape).MulScalar(2 * bound).AddScalar(-bound);
    }
}
