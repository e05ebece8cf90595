using DispLlm;

try
{
    Console.Error.WriteLine($"There is no native library, and yet: {TorchBackend.Auto()}");
    return 1;
}
catch (NativeTorchException error)
{
    string[] remedies = ["TorchSharp-cpu", "TorchSharp-cuda-linux", "TorchSharp-cuda-windows"];
    Console.WriteLine(error.Message);
    return remedies.All(error.Message.Contains) ? 0 : 1;
}
