using System.Runtime.InteropServices;

namespace DispLlm.Kernels;

/// <summary>The GPU's driver or compiler refuses a call. It is of the kind that TorchSharp throws for errors of libtorch.</summary>
internal sealed class CudaException(string message) : ExternalException(message);
