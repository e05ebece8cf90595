using Microsoft.ML.OnnxRuntime;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>An exported graph in ONNX Runtime, with its cache.</summary>
internal sealed class OnnxSession : IDisposable
{
    private readonly InferenceSession _session;
    private readonly Dictionary<string, OrtValue> _past = [];
    private long _read;

    public OnnxSession(string folder)
    {
        using var options = new SessionOptions { IntraOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        _session = new InferenceSession(Path.Combine(folder, "model.onnx"), options);
        foreach (var (name, input) in _session.InputMetadata.Where(input => input.Key.StartsWith("past", StringComparison.Ordinal)))
        {
            long[] shape = [1, input.Dimensions[1], 0, input.Dimensions[3]];
            _past[name] = input.ElementType == typeof(float)
                ? OrtValue.CreateTensorValueFromMemory(Array.Empty<float>(), shape)
                : OrtValue.CreateTensorValueFromMemory(Array.Empty<Float16>(), shape);
        }
    }

    /// <summary>Inputs that are keys of the cache: one for each block with attention.</summary>
    public IReadOnlyDictionary<string, NodeMetadata> Cache => _session.InputMetadata
        .Where(input => input.Key.EndsWith(".key", StringComparison.Ordinal)).ToDictionary();

    /// <summary>Reads further tokens <c>[1, seq]</c> and returns their logits, float32.</summary>
    public Tensor Read(Tensor tokens)
    {
        long[] ids = tokens.to(ScalarType.Int64).contiguous().data<long>().ToArray();
        _read += ids.Length;
        var inputs = new Dictionary<string, OrtValue>(_past)
        {
            ["input_ids"] = OrtValue.CreateTensorValueFromMemory(ids, [1, ids.Length]),
            ["attention_mask"] = OrtValue.CreateTensorValueFromMemory(Enumerable.Repeat(1L, (int)_read).ToArray(), [1, _read]),
        };
        string[] names = [.. _session.OutputNames];
        using var run = new RunOptions();
        var outputs = _session.Run(run, inputs, names);
        foreach (var (name, value) in inputs)
        {
            value.Dispose();
            if (name.StartsWith("past", StringComparison.Ordinal))
            {
                _past[name] = outputs[Array.IndexOf(names, name.Replace("past_key_values", "present", StringComparison.Ordinal))];
            }
        }

        using var logits = outputs[Array.IndexOf(names, "logits")];
        long[] shape = logits.GetTensorTypeAndShape().Shape;
        return logits.GetTensorTypeAndShape().ElementDataType == Microsoft.ML.OnnxRuntime.Tensors.TensorElementType.Float
            ? tensor(logits.GetTensorDataAsSpan<float>().ToArray(), shape)
            : tensor(logits.GetTensorDataAsSpan<Float16>().ToArray().Select(half => (float)half).ToArray(), shape);
    }

    public void Dispose()
    {
        foreach (var value in _past.Values)
        {
            value.Dispose();
        }

        _session.Dispose();
    }
}
