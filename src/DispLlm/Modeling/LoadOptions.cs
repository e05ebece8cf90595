using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace DispLlm;

/// <summary>How a model is loaded. An immutable value.</summary>
public sealed record LoadOptions
{
    /// <summary>The families to choose from. Default: those that come with the library.</summary>
    public ModelFamilies Families { get; init; } = ModelFamilies.BuiltIn;

    /// <summary>
    /// Whether weights that are wanted on the CPU in the checkpoint's type are memory-mapped, so that loading reads only headers, and the
    /// system pages in what is used. The files may then be deleted or replaced, but not changed in place while the model lives; on Windows
    /// they cannot be replaced either. Default: true. Other weights are always copied.
    /// </summary>
    public bool MapWeights { get; init; } = true;

    /// <summary>Where loading is logged. Default: nowhere.</summary>
    public ILogger Logger { get; init; } = NullLogger.Instance;
}
