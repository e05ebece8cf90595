using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

/// <summary>Adds DispLlm to a service collection. Not thread-safe, as the collection is not.</summary>
public static class ServiceCollectionExtensions
{
    /// <summary>
    /// Registers singletons: <see cref="ITensorBackend"/>, where tensors live; <see cref="ModelFamilies"/>, the families that models may
    /// belong to; and <see cref="ModelPruner"/>, which loads and prunes models with both. What the application has registered before is
    /// kept. Nothing native is loaded before the backend is resolved.
    /// </summary>
    /// <param name="services">The collection.</param>
    /// <returns>The same collection.</returns>
    public static IServiceCollection AddDispLlm(this IServiceCollection services) => services.AddDispLlm(_ => { });

    /// <summary>
    /// The same, with options: <c>services.AddDispLlm(options => options.Backend = logger => TorchBackend.Cpu(logger: logger))</c>.
    /// </summary>
    /// <param name="services">The collection.</param>
    /// <param name="configure">Changes the options.</param>
    /// <returns>The same collection.</returns>
    /// <exception cref="ArgumentNullException">The collection, the action or an option is null.</exception>
    public static IServiceCollection AddDispLlm(this IServiceCollection services, Action<DispLlmOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configure);
        var options = new DispLlmOptions();
        configure(options);
        ArgumentNullException.ThrowIfNull(options.Backend);
        ArgumentNullException.ThrowIfNull(options.Families);
        services.TryAddSingleton(provider => options.Backend(CreateLogger<ITensorBackend>(provider)));
        services.TryAddSingleton(options.Families);
        services.TryAddSingleton(provider => new ModelPruner(
            provider.GetRequiredService<ITensorBackend>(), provider.GetRequiredService<ModelFamilies>(),
                CreateLogger<ModelPruner>(provider)));
        return services;
    }

    private static ILogger CreateLogger<T>(IServiceProvider provider) =>
        (provider.GetService<ILoggerFactory>() ?? NullLoggerFactory.Instance).CreateLogger<T>();
}
