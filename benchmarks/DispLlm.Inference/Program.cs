using DispLlm;
using DispLlm.Inference;
using TorchSharp;

Settings settings;
try
{
    settings = Settings.Parse(args);
}
catch (Exception e) when (e is ArgumentException or FormatException)
{
    Console.Error.WriteLine(e.Message + "\n\n" + Settings.Usage);
    return 2;
}

NativeTorch.EnsureLoaded();
torch.set_num_threads(settings.Threads);
using var noGradient = torch.no_grad();
Action<Settings, TextWriter> print = settings.Table == "ratios" ? RatioTable.Print : PieceTable.Print;
print(settings, Console.Out);
return 0;
