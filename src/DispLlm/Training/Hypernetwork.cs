using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace DispLlm.Training;

/// <summary>
/// The network that learns the gates' logits (method, section 4; paper, section 3.3). One sequence position per selection site, in block
/// order; a bidirectional GRU lets sites know of each other, so that what one block drops another may keep.
/// <code>
/// z      : [N, 1, 32] ~ N(0, 1), fixed                N = 5 L
/// h      = gelu(LayerNorm(biGRU(z)))                  [N, 128]
/// x_i    = h_i W_i^T                                  W_i: [size of site i, 128], no bias
/// </code>
/// </summary>
public sealed class Hypernetwork : IDisposable
{
    private const int InputSize = 32;
    private const int RecurrentSize = 64;
    private const int FeatureSize = 2 * RecurrentSize;

    private readonly Tensor? _input;
    private readonly GRU? _gru;
    private readonly LayerNorm? _norm;
    private readonly Parameter[] _heads;

    /// <summary>Creates a hypernetwork with fresh weights.</summary>
    /// <param name="layout">The gates to produce logits for.</param>
    /// <param name="random">Where the fresh weights and the fixed input come from.</param>
    /// <param name="device">Where it lives.</param>
    /// <param name="network">The paper's network, or one of its ablations.</param>
    public Hypernetwork(GateLayout layout, RandomSource random, Device device, HypernetworkKind network = HypernetworkKind.Gru)
        : this([.. (layout ?? throw new ArgumentNullException(nameof(layout))).Sites.Select(site => site.Size)], random, device, network)
    {
    }

    internal Hypernetwork(IReadOnlyList<int> sizes, RandomSource random, Device device, HypernetworkKind network)
    {
        ArgumentNullException.ThrowIfNull(random);
        using var scope = NewDisposeScope();
        using var stream = random.Stream("hypernetwork");
        if (network == HypernetworkKind.None)
        {
            _heads = [.. sizes.Select(size => new Parameter(zeros(size, ScalarType.Float32, device)))];
        }
        else
        {
            int features = network == HypernetworkKind.Gru ? FeatureSize : InputSize;
            _input = stream.Normal(sizes.Count, 1, InputSize).to(device, copy: true).DetachFromDisposeScope();
            _gru = network == HypernetworkKind.Gru ? GRU(InputSize, RecurrentSize, bidirectional: true, device: device) : null;
            _norm = LayerNorm(features, device: device);
            _heads = [.. sizes.Select(size => new Parameter(Spread(stream, features, size, features).to(device, copy: true)))];
        }

        // The framework has drawn from its global generator; every number of a run comes from the run's seed instead.
        using var noGradient = no_grad();
        foreach (var (_, parameter) in _gru?.named_parameters() ?? [])
        {
            parameter.copy_(Spread(stream, RecurrentSize, parameter.shape));
        }

        foreach (var parameter in Parameters)
        {
            parameter.DetachFromDisposeScope();
        }
    }

    /// <summary>Everything that learns.</summary>
    public IEnumerable<Parameter> Parameters => [.. _gru?.parameters() ?? [], .. _norm?.parameters() ?? [], .. _heads];

    /// <summary>
    /// Everything that decides the logits, by name: <c>z</c>, <c>gru.*</c>, <c>ln.*</c>, <c>heads.{i}.weight</c>. Not copies.
    /// </summary>
    public IReadOnlyDictionary<string, Tensor> State()
    {
        var state = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        if (_input is not null)
        {
            state["z"] = _input;
        }

        foreach (var (name, parameter) in _gru?.named_parameters() ?? [])
        {
            state["gru." + name] = parameter;
        }

        foreach (var (name, parameter) in _norm?.named_parameters() ?? [])
        {
            state["ln." + name] = parameter;
        }

        for (int i = 0; i < _heads.Length; i++)
        {
            state[$"heads.{i}.weight"] = _heads[i];
        }

        return state;
    }

    /// <summary>Takes over values for everything in <see cref="State"/>.</summary>
    /// <param name="values">A tensor of the same shape for every name, and no other name.</param>
    /// <exception cref="ArgumentException">A name is missing or unknown, or a shape differs; it is named.</exception>
    public void LoadState(IReadOnlyDictionary<string, Tensor> values)
    {
        ArgumentNullException.ThrowIfNull(values);
        var state = State();
        if (values.Keys.FirstOrDefault(name => !state.ContainsKey(name)) is { } unknown)
        {
            throw new ArgumentException($"The hypernetwork has nothing called '{unknown}'.", nameof(values));
        }

        using var noGradient = no_grad();
        foreach (var (name, target) in state)
        {
            if (!values.TryGetValue(name, out var value) || !value.shape.SequenceEqual(target.shape))
            {
                string found = value is null ? "missing" : $"[{string.Join(", ", value.shape)}]";
                throw new ArgumentException($"'{name}' is {found}, not [{string.Join(", ", target.shape)}].", nameof(values));
            }
        }

        foreach (var (name, target) in state)
        {
            target.copy_(values[name]);
        }
    }

    /// <summary>The logits of all gates: <c>[gates]</c>, float32, differentiable in the weights. The caller disposes them.</summary>
    public Tensor Logits()
    {
        using var scope = NewDisposeScope();
        if (_input is null)
        {
            return cat(_heads).MoveToOuterDisposeScope();
        }

        Tensor seen = _gru is null ? _input : _gru.call(_input).Item1;
        Tensor features = functional.gelu(_norm!.call(seen.squeeze(1)));
        var logits = new Tensor[_heads.Length];
        for (int i = 0; i < logits.Length; i++)
        {
            logits[i] = _heads[i].mv(features[i]);
        }

        return cat(logits).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _input?.Dispose();
        _gru?.Dispose();
        _norm?.Dispose();
        foreach (var head in _heads)
        {
            head.Dispose();
        }
    }

    /// <summary>Uniform in ±1/sqrt(fan): PyTorch's own starting point of linear and recurrent layers.</summary>
    private static Tensor Spread(RandomStream stream, int fan, params long[] shape)
    {
        double bound = 1 / Math.Sqrt(fan);
        return stream.Uniform(shape).MulScalar(2 * bound).AddScalar(-bound);
    }
}
