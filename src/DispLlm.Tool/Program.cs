using DispLlm.Tool;

return await DispLlmCli.RunAsync(args, Console.Out, Console.Error);
