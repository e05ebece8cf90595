using System.Globalization;
using DispLlm.Deployment;

if (args is [Measurement.Command, var name, var path, var threads, var prompt, var tokens])
{
    int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
    Measurement.Print(name, path, Number(threads), Number(prompt), Number(tokens));
    return 0;
}

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

new Table(settings).Print(Console.Out);
return 0;
