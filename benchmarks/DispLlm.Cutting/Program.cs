using DispLlm;
using DispLlm.Cutting;

Settings settings;
try
{
    if (args is [CutRun.CommandName, var source, var plan, var target])
    {
        CutRun.Run(source, plan, target);
        return 0;
    }

    settings = Settings.Parse(args);
}
catch (Exception e) when (e is ArgumentException or FormatException)
{
    Console.Error.WriteLine(e.Message + "\n\n" + Settings.Usage);
    return 2;
}

NativeTorch.EnsureLoaded();
Action<TextWriter> print = settings.Measurement switch
{
    "cut" => new CuttingBenchmark(settings).Print,
    "load" => new LoadingBenchmark(settings).Print,
    _ => new LinearityBenchmark(settings).Print,
};
Machine.Print(Console.Out);
print(Console.Out);
return 0;
