using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

/// <summary>Adds DispLlm to a service collection.</summary>
public static class ServiceCollectionExtensions
{
    /// <summary>
    /// Registers, each once for the application: an <see cref="ITensorBackend"/>, the <see cref="ModelFamilies"/> in use, and the <see cref="ModelPruner"/>
    /// that loads models and begins to prune them. What the application has registered before stays. Nothing native is loaded before the backend is asked for.
    /// </summary>
    /// <param name="services">The collection.</param>
    /// <param name="configure">
    /// Says what is different: <c>options => options with { Backend = logger => TorchBackend.Cpu(logger: logger) }</c>. Null for the defaults.
    /// </param>
    /// <returns>The same collection.</returns>
    /// <exception cref="ArgumentNullException">The collection or an option is null.</exception>
    public static IServiceCollection AddDispLlm(this IServiceCollection services, Func<DispLlmOptions, DispLlmOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        var options = new DispLlmOptions();
        options = configure is null ? options : configure(options);
        ArgumentNullException.ThrowIfNull(options, nameof(configure));
        options.Validate();

        services.TryAddSingleton(provider => options.Backend(CreateLogger<ITensorBackend>(provider)));
        services.TryAddSingleton(options.Families);
        services.TryAddSingleton(provider => new ModelPruner(
            provider.GetRequiredService<ITensorBackend>(), provider.GetRequiredService<ModelFamilies>(), CreateLogger<ModelPruner>(provider)));
        return services;
    }

    private static ILogger CreateLogger<T>(IServiceProvider provider) =>
        (provider.GetService<ILoggerFactory>() ?? NullLoggerFactory.Instance).CreateLogger<T>();
}
