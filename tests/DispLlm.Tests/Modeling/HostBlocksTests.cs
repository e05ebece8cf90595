using DispLlm.Tests.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Modeling;

/// <summary>One position goes through blocks without tensors as it goes through them with tensors, byte by byte.</summary>
public sealed class HostBlocksTests
{
    private const int Before = 3, Steps = 70;

    private static string Fixtures => Path.Combine(Repository.Root, "tests/DispLlm.Tests/Fixtures");

    [Theory]
    [InlineData("llama-mha", false, false)]
    [InlineData("llama-mha", true, true)]
    [InlineData("llama-gqa-biases-tied", true, false)]
    [InlineData("llama-gqa-biases-tied", false, true)]
    [InlineData("llama-rope-llama3", true, true)]
    public void Streams_caches_and_rows_are_the_same_to_the_byte(string name, bool pruned, bool padded)
    {
        using var folder = new TemporaryFolder();
        string path = Path.Combine(Fixtures, name);
        foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            using var scope = NewDisposeScope();
            using var noGradient = no_grad();
            using var model = PrunableModel.Load(path, TorchBackend.Cpu(type));
            string cut = folder.Below($"{type}");
            var plan = pruned ? new RandomSelection().Select(new SelectionRequest { Model = model, Budget = PruningBudget.FromRatio(0.4) }).Plan : null;
            if (plan is not null)
            {
                new PrunedModelBuilder(path, plan).Build(cut);
            }

            using var opened = CheckpointFolder.Open(plan is null ? path : cut);
            using var weights = DecoderWeights.Read(opened, model.Spec, model.Family, plan, model.Backend, mapped: true, TestContext.Current.CancellationToken);
            Compare(model.Spec, weights, plan, type, padded);
        }
    }

    [Fact]
    public void Blocks_of_another_kind_go_through_tensors()
    {
        foreach (string name in new[] { "opt-pre-norm", "phi-2-style", "phi-qk-norm-gqa" })
        {
            using var model = PrunableModel.Load(Path.Combine(Fixtures, name));
            using var opened = CheckpointFolder.Open(Path.Combine(Fixtures, name));
            using var weights = DecoderWeights.Read(opened, model.Spec, model.Family, null, model.Backend, mapped: true, TestContext.Current.CancellationToken);
            Assert.Null(new DecoderBlock(model.Spec, 0, weights, null).InHostMemory(null));
        }
    }

    private static void Compare(DecoderSpec spec, DecoderWeights weights, SelectionPlan? plan, ScalarType type, bool padded)
    {
        using var rotary = new RotaryTable(spec.Rotary!, CPU);
        var indices = plan?.Blocks.Select(block => BlockIndices.From(block, CPU)).ToArray();
        DecoderBlock[] blocks = [.. Enumerable.Range(0, spec.NumLayers).Select(block => new DecoderBlock(spec, block, weights, rotary))];
        var hostBlocks = HostBlocks.TryCreate(spec, [.. blocks.Select((block, i) => block.InHostMemory(indices?[i]))], rotary);
        Assert.NotNull(hostBlocks);
        Assert.True(hostBlocks.MostRows >= 3);
        int[]? padding = padded ? [0, 2, 1] : null;
        using var cache = new KeyValueCache(spec, spec.NumLayers, 4096, padding);
        using var hostCache = new KeyValueCache(spec, spec.NumLayers, 4096, padding);
        Tensor before = randn(3, spec.NumKeyValueHeads, Before, spec.HeadDim, dtype: type);
        for (int block = 0; block < spec.NumLayers; block++)
        {
            cache.Append(block, before, before);
            hostCache.Append(block, before, before);
        }

        cache.Advance(Before);
        hostCache.Advance(Before);
        for (int step = 0; step < Steps; step++)
        {
            using var position = NewDisposeScope();
            Tensor stream = randn(3, 1, spec.HiddenSize, dtype: type), inHostMemory = stream.clone();
            using (var window = new ForwardContext(1, cache))
            {
                for (int block = 0; block < spec.NumLayers; block++)
                {
                    stream = blocks[block].Forward(stream, indices is null ? new DensePolicy() : new PrunedPolicy(indices[block], plan!.NormOrder), window);
                }
            }

            using (var window = new ForwardContext(1, hostCache))
            {
                hostBlocks.Pass(inHostMemory, window, hostCache);
            }

            Assert.True(stream.Equals(inHostMemory), $"Position {step} is another one in {type}.");
            cache.Advance(1);
            hostCache.Advance(1);
        }

        foreach (var block in indices ?? [])
        {
            block.Dispose();
        }
    }
}
