using System.Diagnostics;
using TorchSharp;

namespace DispLlm.Deployment;

/// <summary>A model in DispLlm.</summary>
internal sealed class TorchModel(string folder, torch.ScalarType type) : IRunningModel
{
    private readonly PrunableModel _model = PrunableModel.Load(folder, TorchBackend.Cpu(type));

    public (double Prefill, double Decode) Run(int[] prompt, int tokens)
    {
        using var noGradient = torch.no_grad();
        using var cache = _model.CreateKeyValueCache();
        var clock = Stopwatch.StartNew();
        int id = Step([.. prompt.Select(token => (long)token)]);
        double prefill = clock.Elapsed.TotalSeconds;
        for (int i = 1; i < tokens; i++)
        {
            id = Step([id]);
        }

        return (prefill, clock.Elapsed.TotalSeconds - prefill);

        int Step(long[] ids)
        {
            using var scope = torch.NewDisposeScope();
            return (int)_model.NextTokenLogits(torch.tensor(ids).unsqueeze(0), cache!).argmax().item<long>();
        }
    }

    public void Dispose() => _model.Dispose();
}
