using System.Globalization;
using DispLlm.Tool;

// One language on every system: what the tool prints is read by scripts.
CultureInfo.DefaultThreadCurrentCulture = CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.CurrentUICulture = CultureInfo.InvariantCulture;
return await DispLlmCli.RunAsync(args, Console.Out, Console.Error);
