using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm;

/// <summary>How a model is loaded.</summary>
public sealed record LoadOptions
{
    /// <summary>The families to choose from. Default: those that come with the library.</summary>
    public ModelFamilies Families { get; init; } = ModelFamilies.BuiltIn;

    /// <summary>
    /// Whether weights that are wanted on the CPU and in the checkpoint's type stay in the mapped file, so that loading takes no longer than reading
    /// headers, and the system brings in what is used. The files may then be deleted or replaced, but not changed in place while the model lives; on Windows they
    /// cannot be replaced either. Default: true. Other weights are always copied.
    /// </summary>
    public bool MapWeights { get; init; } = true;

    /// <summary>Told what is loaded. Default: nobody.</summary>
    public ILogger Logger { get; init; } = NullLogger.Instance;
}
