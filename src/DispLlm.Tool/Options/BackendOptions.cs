using System.CommandLine;
using System.Globalization;
using TorchSharp;

namespace DispLlm.Tool;

/// <summary>Device and compute type.</summary>
internal sealed class BackendOptions
{
    private readonly Option<string> _device = new("--device")
    {
        Description = "Device: auto (the first GPU, if there is one), cpu, cuda, or cuda:N",
        HelpName = "device",
        DefaultValueFactory = _ => "auto",
    };

    private readonly ChoiceOption<torch.ScalarType?> _type = new(
        "--dtype",
        "Compute type: float32, bfloat16, or auto (bfloat16 on a GPU, float32 on the CPU)",
        ("auto", null),
        ("float32", torch.ScalarType.Float32),
        ("bfloat16", torch.ScalarType.BFloat16));

    public void AddTo(Command command)
    {
        _device.Validators.Add(result =>
        {
            string device = result.GetValueOrDefault<string>() ?? string.Empty;
            if (device is not ("auto" or "cpu") && ParseCudaIndex(device) is null)
            {
                result.AddError($"'--device {device}': use auto, cpu, cuda, or cuda:N with N from 0.");
            }
        });
        command.Options.Add(_device);
        command.Options.Add(_type);
    }

    /// <summary>Creates the backend.</summary>
    /// <exception cref="BackendException">There is no such GPU.</exception>
    public TorchBackend Create(ParseResult arguments, Terminal terminal)
    {
        string device = arguments.GetRequiredValue(_device);
        var type = _type.Read(arguments);
        return device switch
        {
            "auto" => TorchBackend.Auto(type, terminal.Logger),
            "cpu" => TorchBackend.Cpu(type ?? torch.ScalarType.Float32, terminal.Logger),
            _ => TorchBackend.Cuda(ParseCudaIndex(device)!.Value, type ?? torch.ScalarType.BFloat16, terminal.Logger),
        };
    }

    private static int? ParseCudaIndex(string device) => device == "cuda" ? 0
        : device.StartsWith("cuda:", StringComparison.Ordinal)
            && int.TryParse(device.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out int index) ? index
        : null;
}
