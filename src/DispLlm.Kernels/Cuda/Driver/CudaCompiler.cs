using System.Runtime.InteropServices;
using System.Text;

namespace DispLlm.Kernels;

/// <summary>NVRTC, which every libtorch for CUDA ships with: kernels are compiled for the GPU at first use.</summary>
internal sealed unsafe class CudaCompiler
{
    // libtorch loads NVRTC by way of libcaffe2_nvrtc on Linux; the others are the names of NVRTC itself, by version.
    private static readonly string[] s_names = OperatingSystem.IsWindows()
        ? ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"]
        : ["libcaffe2_nvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

    private static readonly Lazy<CudaCompiler?> s_current = new(Load);

    private readonly delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int> _create;
    private readonly delegate* unmanaged<nint, int, byte**, int> _compile;
    private readonly delegate* unmanaged<nint, nuint*, int> _logSize;
    private readonly delegate* unmanaged<nint, byte*, int> _log;
    private readonly delegate* unmanaged<nint, nuint*, int> _codeSize;
    private readonly delegate* unmanaged<nint, byte*, int> _code;
    private readonly delegate* unmanaged<nint*, int> _destroy;

    private CudaCompiler(nint library)
    {
        nint Function(string name) => NativeLibrary.GetExport(library, name);

        _create = (delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int>)Function("nvrtcCreateProgram");
        _compile = (delegate* unmanaged<nint, int, byte**, int>)Function("nvrtcCompileProgram");
        _logSize = (delegate* unmanaged<nint, nuint*, int>)Function("nvrtcGetProgramLogSize");
        _log = (delegate* unmanaged<nint, byte*, int>)Function("nvrtcGetProgramLog");
        _codeSize = (delegate* unmanaged<nint, nuint*, int>)Function("nvrtcGetCUBINSize");
        _code = (delegate* unmanaged<nint, byte*, int>)Function("nvrtcGetCUBIN");
        _destroy = (delegate* unmanaged<nint*, int>)Function("nvrtcDestroyProgram");
    }

    /// <summary>The compiler of this process; null where none can be loaded.</summary>
    public static CudaCompiler? Current => s_current.Value;

    /// <summary>Compiles to machine code.</summary>
    /// <param name="source">CUDA C++.</param>
    /// <param name="options">Compiler options.</param>
    /// <exception cref="CudaException">The source does not compile; the message has the compiler's log.</exception>
    public byte[] Compile(string source, params string[] options)
    {
        nint program;
        nint[] texts = [.. options.Select(Marshal.StringToCoTaskMemUTF8)];
        try
        {
            fixed (byte* text = Encoding.UTF8.GetBytes(source + '\0'))
            fixed (nint* arguments = texts)
            {
                Check(_create(&program, text, null, 0, null, null), "create a program");
                try
                {
                    if (_compile(program, texts.Length, (byte**)arguments) is not 0 and var error)
                    {
                        throw new CudaException(
                            $"Kernels for this GPU do not compile (error {error} with {string.Join(' ', options)}): {Log(program)}");
                    }

                    nuint size;
                    Check(_codeSize(program, &size), "report the size of code");
                    byte[] code = new byte[size];
                    fixed (byte* first = code)
                    {
                        Check(_code(program, first), "return code");
                    }

                    return code;
                }
                finally
                {
                    _ = _destroy(&program);
                }
            }
        }
        finally
        {
            Array.ForEach(texts, Marshal.FreeCoTaskMem);
        }
    }

    private static CudaCompiler? Load()
    {
        foreach (string name in s_names)
        {
            if (NativeLibrary.TryLoad(name, typeof(CudaCompiler).Assembly, null, out nint library)
                && NativeLibrary.TryGetExport(library, "nvrtcGetCUBIN", out _))
            {
                return new CudaCompiler(library);
            }
        }

        return null;
    }

    private static void Check(int error, string what)
    {
        if (error != 0)
        {
            throw new CudaException($"The GPU's compiler fails to {what} (error {error}).");
        }
    }

    private string Log(nint program)
    {
        nuint size;
        if (_logSize(program, &size) != 0 || size == 0)
        {
            return "the compiler's log is empty";
        }

        byte[] log = new byte[size];
        fixed (byte* first = log)
        {
            return _log(program, first) == 0 ? Encoding.UTF8.GetString(log).TrimEnd('\0', '\n') : "the compiler's log is empty";
        }
    }
}
