using Microsoft.Extensions.Logging;

namespace DispLlm;

/// <summary>What <see cref="ServiceCollectionExtensions.AddDispLlm"/> sets up.</summary>
public sealed record DispLlmOptions
{
    /// <summary>
    /// Makes the one backend of the application, when it is first asked for; it is given the logger to tell. Default: <see cref="TorchBackend.Auto"/>,
    /// a GPU in bfloat16 where there is one, else the CPU in float32. Ignored where the application has registered an <see cref="ITensorBackend"/> before.
    /// </summary>
    public Func<ILogger, ITensorBackend> Backend { get; init; } = logger => TorchBackend.Auto(logger: logger);

    /// <summary>
    /// The families that models may belong to. Default: those that come with the library; <see cref="ModelFamilies.Add"/> adds one.
    /// Ignored where the application has registered <see cref="ModelFamilies"/> before.
    /// </summary>
    public ModelFamilies Families { get; init; } = ModelFamilies.BuiltIn;

    internal void Validate()
    {
        ArgumentNullException.ThrowIfNull(Backend);
        ArgumentNullException.ThrowIfNull(Families);
    }
}
