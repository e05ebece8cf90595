using DispLlm.Tool;

return await DispLlmCommand.RunAsync(args);
