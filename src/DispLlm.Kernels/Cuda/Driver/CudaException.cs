using System.Runtime.InteropServices;

namespace DispLlm.Kernels;

/// <summary>A call of the CUDA driver or of NVRTC has failed. It derives from what TorchSharp throws for errors of libtorch.</summary>
internal sealed class CudaException(string message) : ExternalException(message);
