using Microsoft.Extensions.Logging;

namespace DispLlm;

/// <summary>
/// Loads models and begins to prune them, with the application's backend, families and logger. It holds no model: the caller disposes what
/// it loads. Thread-safe.
/// </summary>
public sealed class ModelPruner
{
    private readonly ITensorBackend _backend;
    private readonly LoadOptions _options;
    private readonly ILogger _logger;

    internal ModelPruner(ITensorBackend backend, ModelFamilies families, ILogger logger)
    {
        _backend = backend;
        _options = new LoadOptions { Families = families, Logger = logger };
        _logger = logger;
    }

    /// <summary>Loads a model, dense or pruned, as <see cref="PrunableModel.Load"/> does.</summary>
    /// <param name="folder">Folder with <c>config.json</c> and weights.</param>
    /// <param name="cancellationToken">Stops loading; what was loaded is released.</param>
    /// <exception cref="CheckpointException">
    /// The folder, a file in it or a tensor is not as its configuration says; it is named.
    /// </exception>
    /// <exception cref="UnsupportedModelException">The configuration asks for something that is not supported; it is named.</exception>
    public PrunableModel Load(string folder, CancellationToken cancellationToken = default) =>
        PrunableModel.Load(folder, _backend, _options, cancellationToken);

    /// <summary>
    /// Begins to describe how a model is pruned, as <see cref="PruningPipeline.For"/> does, and logs where the application logs.
    /// </summary>
    /// <param name="model">The dense model. The caller disposes it; it is not changed.</param>
    /// <exception cref="ModelAlreadyPrunedException">The model is pruned already.</exception>
    public PruningPipeline Prune(IPrunableModel model) => PruningPipeline.For(model).WithLogger(_logger);
}
