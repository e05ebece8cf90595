using LLama;
using LLama.Common;
using LLama.Native;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>A GGUF file as llama.cpp runs it, through LLamaSharp: on the CPU, with keys and values in float32.</summary>
public sealed class GgufModel : IDisposable
{
    private readonly LLamaWeights _weights;
    private readonly LLamaContext _context;

    public GgufModel(string file, int threads = 2, uint? context = null)
    {
        var parameters = new ModelParams(file)
        {
            GpuLayerCount = 0,
            ContextSize = context,
            Threads = threads,
            BatchThreads = threads,
            FlashAttention = false,
            TypeK = GGMLType.GGML_TYPE_F32,
            TypeV = GGMLType.GGML_TYPE_F32,
        };
        _weights = LLamaWeights.LoadFromFile(parameters);
        _context = _weights.CreateContext(parameters);
    }

    /// <summary>The context that the model was made for, in tokens.</summary>
    public int ContextLength => _weights.ContextSize;

    /// <summary>The file's metadata, as text.</summary>
    public IReadOnlyDictionary<string, string> Metadata => _weights.Metadata;

    /// <summary>Logits of a sequence, <c>[tokens, vocabulary]</c>.</summary>
    public Tensor Logits(IReadOnlyList<int> tokens)
    {
        _context.NativeHandle.MemoryClear();
        Decode(tokens, 0, all: true);
        return tensor(_context.NativeHandle.GetLogits(tokens.Count).ToArray(), [tokens.Count, _weights.Vocab.Count]);
    }

    /// <summary>Continues a sequence with the likeliest token each time; an end token does not end it.</summary>
    public IReadOnlyList<int> Continue(IReadOnlyList<int> tokens, int count)
    {
        _context.NativeHandle.MemoryClear();
        var ids = new List<int>();
        Decode(tokens, 0, all: false);
        while (true)
        {
            ReadOnlySpan<float> logits = _context.NativeHandle.GetLogitsIth(-1);
            ids.Add(System.Numerics.Tensors.TensorPrimitives.IndexOfMax(logits));
            if (ids.Count == count)
            {
                return ids;
            }

            Decode([ids[^1]], tokens.Count + ids.Count - 1, all: false);
        }
    }

    public void Dispose()
    {
        _context.Dispose();
        _weights.Dispose();
    }

    private void Decode(IReadOnlyList<int> tokens, int first, bool all)
    {
        var batch = new LLamaBatch();
        for (int i = 0; i < tokens.Count; i++)
        {
            batch.Add(tokens[i], first + i, LLamaSeqId.Zero, all || i == tokens.Count - 1);
        }

        Assert.Equal(DecodeResult.Ok, _context.Decode(batch));
    }
}
