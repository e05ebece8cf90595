using System.Globalization;
using static TorchSharp.torch;

namespace DispLlm.Export;

/// <summary>
/// One decoder block in a graph. Where a site keeps all of the stream, there is no operator for it; elsewhere Gather selects, and Gather
/// from the kept features and one zero spreads. Not thread-safe.
/// </summary>
internal sealed class OnnxBlock(CheckpointSource source, OnnxGraph graph, OnnxWeights weights, OnnxAttention attention, int block)
{
    private readonly DecoderSpec _spec = source.Spec;
    private readonly OnnxNorm _norm = new(source.Spec, graph);
    private readonly string _name = string.Create(CultureInfo.InvariantCulture, $"blocks.{block}");

    private bool IsPostNorm => _spec.NormPlacement == NormPlacement.PostNorm;

    private WeightRole MlpNorm =>
        _spec.Residual == ResidualLayout.ParallelSharedNorm ? WeightRole.AttentionNorm : WeightRole.MlpNorm;

    /// <summary>The residual stream after the block.</summary>
    public string Add(string hidden)
    {
        string attended = source.KeyValueHeads(block) == 0
            ? AddConstant(hidden)
            : AddOutput(
                hidden, attention.Add(Input(hidden, SelectionSite.AttentionInput, WeightRole.AttentionNorm, "attention.input"), block),
                SelectionSite.AttentionOutput, WeightRole.AttentionOutput, WeightRole.AttentionOutputNorm);
        attended = IsPostNorm ? Normed(attended, WeightRole.AttentionNorm, null, "attention.normed") : attended;
        string input = Input(
            _spec.Residual == ResidualLayout.Sequential ? attended : hidden, SelectionSite.MlpInput, MlpNorm, "mlp.input");
        string written = AddOutput(attended, MlpHidden(input), SelectionSite.MlpOutput, WeightRole.MlpDown, WeightRole.MlpOutputNorm);
        return IsPostNorm ? Normed(written, MlpNorm, null, "mlp.normed") : written;
    }

    /// <summary>What a sublayer reads of the stream: normed, if norms stand before sublayers, and selected, in the plan's order.</summary>
    private string Input(string hidden, SelectionSite site, WeightRole norm, string name)
    {
        var kept = source.Kept(site, block);
        if (!_spec.HasInputNorms)
        {
            return Selected(hidden, kept, name);
        }

        return kept is not null && source.Plan!.NormOrder == NormOrder.SelectThenNorm
            ? Normed(Selected(hidden, kept, name + ".selected"), norm, kept, name)
            : Selected(Normed(hidden, norm, null, name + ".normed"), kept, name);
    }

    private string Selected(string x, IReadOnlyList<int>? kept, string name) => kept is null
        ? x
        : graph.Add("Gather", Full(name), [x, Indices(name + ".index", kept)], ("axis", -1));

    private string Normed(string x, WeightRole role, IReadOnlyList<int>? kept, string name)
    {
        // Two sublayers with one norm have a part of it each.
        string weight = Full(name + ".norm");
        return _norm.Add(
            x,
            weights.Vector(role, block, isBias: false, kept, weight),
            source.Has(role, block, isBias: true) ? weights.Vector(role, block, isBias: true, kept, weight) : null,
            Full(name));
    }

    private string MlpHidden(string input)
    {
        if (!_spec.GatedMlp)
        {
            return Activated(weights.Linear(input, WeightRole.MlpUp, block));
        }

        string gate = Activated(weights.Linear(input, WeightRole.MlpGate, block));
        return graph.Add("Mul", Full("mlp.gated"), [gate, weights.Linear(input, WeightRole.MlpUp, block)]);
    }

    private string Activated(string x) => _spec.Activation switch
    {
        Activation.Silu => graph.Add("Mul", Full("mlp.silu"), [x, graph.Add("Sigmoid", Full("mlp.sigmoid"), [x])]),
        Activation.Gelu => graph.Add("Gelu", Full("mlp.gelu"), [x]),
        Activation.GeluTanh => graph.Add("Gelu", Full("mlp.gelu"), [x], ("approximate", "tanh")),
        Activation.Relu => graph.Add("Relu", Full("mlp.relu"), [x]),
        _ => throw new ExportException(
            "onnx", "hidden_act", $"No ONNX operator is known for the activation {_spec.Activation}: it must be added to the export."),
    };

    /// <summary>The stream with what a sublayer makes of its features added.</summary>
    private string AddOutput(string hidden, string features, SelectionSite site, WeightRole projection, WeightRole norm)
    {
        // A zero that the projection writes costs less than one that is padded; a norm would count it.
        bool projectsZero = source.Kept(site, block) is not null && !_spec.HasOutputNorms;
        return AddWritten(hidden, weights.Linear(features, projection, block, projectsZero), projectsZero, site, norm);
    }

    /// <summary>The stream with what a block without attention writes: the same for all tokens.</summary>
    private string AddConstant(string hidden)
    {
        bool hasBias = source.Has(WeightRole.AttentionOutput, block, isBias: true);
        if (!hasBias && !(_spec.HasOutputNorms && source.Has(WeightRole.AttentionOutputNorm, block, isBias: true)))
        {
            return hidden;
        }

        int width = source.Kept(SelectionSite.AttentionOutput, block)?.Count ?? source.StreamSize;
        string written;
        if (hasBias)
        {
            written = weights.Vector(WeightRole.AttentionOutput, block, isBias: true, shape: [1, 1, width]);
        }
        else
        {
            using var none = zeros(1, 1, width);
            written = weights.Computed(Full("attention.none"), none);
        }

        return AddWritten(hidden, written, hasZero: false, SelectionSite.AttentionOutput, WeightRole.AttentionOutputNorm);
    }

    private string AddWritten(string hidden, string written, bool hasZero, SelectionSite site, WeightRole norm)
    {
        string name = site == SelectionSite.AttentionOutput ? "attention.output" : "mlp.output";
        written = _spec.HasOutputNorms ? Normed(written, norm, null, name + ".normed") : written;
        written = _spec.ResidualScale == 1
            ? written
            : graph.Add("Mul", Full(name + ".scaled"), [written, graph.Number(_spec.ResidualScale)]);
        if (source.Kept(site, block) is { } kept)
        {
            written = hasZero
                ? written
                : graph.Add("Pad", Full(name + ".padded"), [written, graph.Integers(0, 0, 0, 0, 0, 1), graph.Number(0)]);
            written = graph.Add("Gather", Full(name + ".wide"), [written, Indices(name + ".index", Spread(kept))], ("axis", -1));
        }

        return graph.Add("Add", Full(name + ".sum"), [hidden, written]);
    }

    /// <summary>For each feature of the stream, its index among the kept ones; that of the zero after them where it is not kept.</summary>
    private int[] Spread(IReadOnlyList<int> kept)
    {
        int[] indices = new int[source.StreamSize];
        Array.Fill(indices, kept.Count);
        for (int i = 0; i < kept.Count; i++)
        {
            indices[kept[i]] = i;
        }

        return indices;
    }

    private string Indices(string name, IReadOnlyList<int> indices)
    {
        using var values = tensor([.. indices.Select(index => (long)index)], ScalarType.Int64);
        return weights.Computed(Full(name), values);
    }

    private string Full(string name) => $"{_name}.{name}";
}
