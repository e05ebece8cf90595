using Microsoft.Extensions.Logging;

namespace DispLlm;

/// <summary>
/// What <see cref="ServiceCollectionExtensions.AddDispLlm(Microsoft.Extensions.DependencyInjection.IServiceCollection)"/> registers. Read
/// once, when services are registered; not thread-safe.
/// </summary>
public sealed class DispLlmOptions
{
    /// <summary>
    /// Creates the one backend of the application, when it is first resolved, with the logger to log to. Default:
    /// <see cref="TorchBackend.Auto"/>, a GPU in bfloat16 where there is one, else the CPU in float32. Ignored where the application has
    /// registered an <see cref="ITensorBackend"/> before.
    /// </summary>
    public Func<ILogger, ITensorBackend> Backend { get; set; } = logger => TorchBackend.Auto(logger: logger);

    /// <summary>
    /// The families that models may belong to. Default: those that come with the library; <see cref="ModelFamilies.Add"/> adds one. Ignored
    /// where the application has registered <see cref="ModelFamilies"/> before.
    /// </summary>
    public ModelFamilies Families { get; set; } = ModelFamilies.BuiltIn;
}
