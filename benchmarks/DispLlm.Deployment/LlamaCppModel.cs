using System.Diagnostics;
using System.Numerics.Tensors;
using LLama;
using LLama.Common;
using LLama.Native;

namespace DispLlm.Deployment;

/// <summary>A model in llama.cpp, through LLamaSharp.</summary>
internal sealed class LlamaCppModel : IRunningModel
{
    private readonly LLamaWeights _weights;
    private readonly LLamaContext _context;

    static LlamaCppModel() => NativeLibraryConfig.All.WithLogCallback((_, _) => { });

    public LlamaCppModel(string file, int threads)
    {
        var parameters = new ModelParams(file) { GpuLayerCount = 0, ContextSize = 1024, Threads = threads, BatchThreads = threads };
        _weights = LLamaWeights.LoadFromFile(parameters);
        _context = _weights.CreateContext(parameters);
    }

    public (double Prefill, double Decode) Run(int[] prompt, int tokens)
    {
        _context.NativeHandle.MemoryClear();
        var clock = Stopwatch.StartNew();
        int id = Step(prompt, 0);
        double prefill = clock.Elapsed.TotalSeconds;
        for (int i = 1; i < tokens; i++)
        {
            id = Step([id], prompt.Length + i - 1);
        }

        return (prefill, clock.Elapsed.TotalSeconds - prefill);
    }

    public void Dispose()
    {
        _context.Dispose();
        _weights.Dispose();
    }

    private int Step(int[] ids, int first)
    {
        var batch = new LLamaBatch();
        for (int i = 0; i < ids.Length; i++)
        {
            batch.Add(ids[i], first + i, LLamaSeqId.Zero, i == ids.Length - 1);
        }

        return _context.Decode(batch) == DecodeResult.Ok
            ? TensorPrimitives.IndexOfMax<float>(_context.NativeHandle.GetLogitsIth(-1))
            : throw new InvalidOperationException("llama.cpp could not decode.");
    }
}
