using System.Text.Json.Nodes;

namespace DispLlm;

/// <summary>
/// The <c>config.json</c> of a pruned folder. Where nothing is cut but what a stock class of transformers can have, it is that of an
/// ordinary, smaller model. Else <c>auto_map</c> leads to <c>modeling_displlm.py</c>. Where neither computes the model, its
/// <c>model_type</c> is one that no other program reads: a program never computes something else in silence.
/// </summary>
internal sealed class PrunedConfig
{
    private const string ModelType = "displlm_pruned";
    private const string Architecture = "DispLlmPrunedForCausalLM";

    private readonly ModelConfig _dense;
    private readonly DecoderSpec _spec;
    private readonly IModelFamily _family;
    private readonly SelectionPlan _plan;
    private readonly TransformersModel? _model;
    private readonly bool _isOrdinary;

    public PrunedConfig(ModelConfig dense, DecoderSpec spec, IModelFamily family, SelectionPlan plan)
    {
        _dense = dense;
        _spec = spec;
        _family = family;
        _plan = plan;
        _isOrdinary = IsOrdinary(plan);
        var model = ModelFamilies.BuiltIn.All.Any(own => own.GetType() == family.GetType())
            ? TransformersModel.Find(dense.GetString("model_type")) : null;
        _model = model is not null && CanBe(model) ? model : null;
    }

    /// <summary>Which programs open the folder, as a sentence.</summary>
    public string Audience => _model is null ? "Only DispLlm opens this folder: no class of transformers computes the model."
        : _isOrdinary ? "This folder is an ordinary model with smaller sizes: whatever opens its family opens it."
        : "Transformers opens this folder with trust_remote_code=True.";

    private bool NeedsModelingFile => _model is not null && !_isOrdinary;

    /// <summary>Writes all that lies beside the weights of a pruned folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="source">The folder whose tokenizer it gets.</param>
    public void WriteFiles(string folder, CheckpointFolder source)
    {
        AtomicFile.Write(Path.Combine(folder, CheckpointFolder.ConfigFile), ToJson());
        if (NeedsModelingFile)
        {
            ModelingFile.Write(folder);
        }

        _plan.Save(Path.Combine(folder, SelectionPlan.FileName));
        source.CopyTokenizer(folder);
    }

    private JsonObject ToJson()
    {
        var config = _dense.ToJson();

        // Its files of code are not copied, and compute the dense model.
        config.Remove("auto_map");
        var section = Describe();
        if (_model is null)
        {
            section["model_type"] = _dense.GetString("model_type");
            section["architectures"] = config["architectures"]?.DeepClone();
            config["model_type"] = ModelType;
            config["architectures"] = new JsonArray(Architecture);
        }
        else
        {
            config["architectures"] = new JsonArray(_isOrdinary ? _model.Causal : PrunedFormat.OwnClass + _model.Causal);
            section[PrunedFormat.DenseSection] = Narrow(config, _model);
            TransformersKeys.AddThoseOfVersion4(config);
        }

        if (NeedsModelingFile)
        {
            config["auto_map"] = new JsonObject
            {
                ["AutoModel"] = "modeling_displlm." + PrunedFormat.OwnClass + _model!.Base,
                ["AutoModelForCausalLM"] = "modeling_displlm." + PrunedFormat.OwnClass + _model.Causal,
            };
        }

        config[PrunedFormat.Section] = section;
        return config;
    }

    /// <summary>Whether only sizes differ from a dense model: all blocks alike, and no index operation.</summary>
    private static bool IsOrdinary(SelectionPlan plan) => Enumerable.Range(0, plan.Blocks.Count).All(block =>
        !PrunedFormat.IndexedSites(plan, block).Any()
        && plan.Blocks[block].AttentionGroups.Count == plan.Model.NumKeyValueHeads
        && plan.Blocks[block].MlpHidden.Count == plan.Blocks[0].MlpHidden.Count);

    /// <summary>Whether transformers' class, as it is or as <c>modeling_displlm.py</c> narrows it, computes what is left.</summary>
    private bool CanBe(TransformersModel model)
    {
        // Phi-3's configuration counts LongRoPE's factors by the stream, not by head_dim.
        bool isLongRope = _spec.GetAttention(0).Rotary?.Scaling is RotaryScaling.LongRope;
        return (_plan.Stream is null || (model.HasFreeHeadDim && !isLongRope))
            && (_isOrdinary || _spec.NormPlacement != NormPlacement.PostNorm);
    }

    private JsonObject Describe()
    {
        var counter = new ParameterCounter(_spec);
        var before = counter.Dense;
        var after = counter.Count(_plan);
        return new JsonObject
        {
            ["format_version"] = PrunedFormat.Version,
            ["family"] = _family.Name,
            ["layout"] = _plan.Layout.ToString(),
            ["norm_order"] = PrunedFormat.SelectionOrder(_plan).ToString(),
            ["kept"] = PrunedFormat.DescribeKept(_plan),
            ["strategy"] = _plan.Provenance.Strategy,
            ["dense_block_weights"] = before.BlockWeights,
            ["kept_block_weights"] = after.BlockWeights,
            ["dense_parameters"] = before.WholeModel,
            ["kept_parameters"] = after.WholeModel,
        };
    }

    /// <summary>Sets the sizes of the narrower model.</summary>
    /// <returns>The dense model's values of the keys that are set; null if there are none.</returns>
    private JsonObject? Narrow(JsonObject config, TransformersModel model)
    {
        var dense = new JsonObject();
        void Set(string key, int value)
        {
            dense[key] = config[key]?.DeepClone();
            config[key] = value;
        }

        if (_plan.Stream is { } stream)
        {
            Set(model.HiddenSizeKey, stream.Count);
            config["head_dim"] = _spec.HeadDim;
        }

        if (_isOrdinary && _plan.Blocks[0].MlpHidden.Count < _spec.IntermediateSize)
        {
            Set(model.IntermediateSizeKey, _plan.Blocks[0].MlpHidden.Count);
        }

        return dense.Count == 0 ? null : dense;
    }
}
