using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Modeling;

/// <summary>A head that is stored and differs from the embedding is a head, whatever the configuration says of ties.</summary>
public sealed class TiedHeadTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_head_that_differs_is_computed_with_counted_and_written(bool sharded)
    {
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var folder = new Checkpoints.TemporaryFolder();
        var (tied, untied) = (folder["tied"], folder["untied"]);
        Write(tied, sharded, config => config["tie_word_embeddings"] = true);
        Write(untied, sharded, config => config["tie_word_embeddings"] = false);
        using var model = PrunableModel.Load(tied);
        using var reference = PrunableModel.Load(untied);
        Tensor tokens = arange(12).unsqueeze(0);
        Assert.Equal(TestBackend.Numbers(reference.Logits(tokens)), TestBackend.Numbers(model.Logits(tokens)));
        Assert.Equal(new ParameterCounter(reference.Spec).Dense, new ParameterCounter(model.Spec).Dense);

        var request = new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.3) };
        var plan = new MagnitudeSelection().Select(request).Plan;
        string target = folder["pruned"];
        new PrunedModelBuilder(tied, plan).Build(target);
        using var pruned = PrunableModel.Load(target);
        using var gates = Gates.FromPlan(plan, model.Backend);
        Close.Within(1e-4, model.Logits(tokens, gates), pruned.Logits(tokens), "pruned");
    }

    [Fact]
    public void A_head_that_is_a_copy_of_the_embedding_is_tied()
    {
        using var scope = NewDisposeScope();
        using var folder = new Checkpoints.TemporaryFolder();
        string tied = folder["tied"];
        Write(tied, false, config => config["tie_word_embeddings"] = true, copiesEmbedding: true);
        using var model = PrunableModel.Load(tied);
        Assert.True(model.Spec.TieWordEmbeddings);
    }

    [Fact]
    public void The_published_case_gives_the_published_logits()
    {
        string folder = SharedData.Path("failing", "02-tied-flag-own-head");
        using var scope = NewDisposeScope();
        using var noGradient = no_grad();
        using var model = PrunableModel.Load(Path.Combine(folder, "model"));
        using var same = PrunableModel.Load(Path.Combine(folder, "same-but-config-says-untied"));
        Tensor tokens = tensor(new long[] { 0, 7, 14, 5, 12, 3, 10, 1, 8, 15, 6, 13, 4, 11, 2, 9 }).unsqueeze(0);
        Tensor last = model.NextTokenLogits(tokens);
        Assert.Equal(TestBackend.Numbers(same.NextTokenLogits(tokens)), TestBackend.Numbers(last));
        Close.Within(1e-5, tensor(new[] { 2.159369f, -0.606037f, -0.988348f, 1.243236f }), last[0].narrow(0, 0, 4), "reference");
    }

    private static void Write(string folder, bool sharded, Action<System.Text.Json.Nodes.JsonObject> change, bool copiesEmbedding = false)
    {
        using var source = CheckpointFolder.Open(Fixture.GetFolder("llama-mha"));
        Directory.CreateDirectory(folder);
        var config = source.Config.ToJson();
        change(config);
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
        string[][] shards = sharded ? [[.. source.TensorNames.Where(name => name != "lm_head.weight")], ["lm_head.weight"]]
            : [[.. source.TensorNames]];
        var map = new System.Text.Json.Nodes.JsonObject();
        for (int i = 0; i < shards.Length; i++)
        {
            string file = sharded ? $"model-{i}.safetensors" : "model.safetensors";
            using var writer = SafetensorsWriter.Create(Path.Combine(folder, file), shards[i].Select(source.Info));
            foreach (string name in shards[i])
            {
                writer.Write(name, source.Read(name == "lm_head.weight" && copiesEmbedding ? "model.embed_tokens.weight" : name));
                map[name] = file;
            }

            writer.Complete();
        }

        if (sharded)
        {
            File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"), $"{{\"weight_map\": {map.ToJsonString()}}}");
        }
    }
}
