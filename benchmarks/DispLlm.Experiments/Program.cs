using DispLlm;
using DispLlm.Experiments;

NativeTorch.EnsureLoaded();
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

new Tables(settings, Console.Out).Print();
return 0;
