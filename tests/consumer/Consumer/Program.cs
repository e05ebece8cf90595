using AddYourOwnFamily;
using DispLlm;
using DispLlm.Modeling;
using Microsoft.Extensions.DependencyInjection;
using TorchSharp;

// Runs in a folder that holds the models and texts that the pages name.
await Pages.README.RunAsync(default);
await Pages.deploying.RunAsync(default);
await Pages.getting_started.RunAsync(default);
await Pages.choosing_a_ratio.RunAsync(default);

// A family of one's own, through services.
using var services = new ServiceCollection()
    .AddDispLlm(options => options.Families = ModelFamilies.BuiltIn.Add(new SeedOssFamily()))
    .BuildServiceProvider();
var pruner = services.GetRequiredService<ModelPruner>();
using var model = pruner.Load("models/seed-oss");
var result = await pruner.Prune(model).WithPruningRatio(0.5).WithStrategy(new MagnitudeSelection()).RunAsync();
await result.SaveAsync("models/seed-oss-half");
using var pruned = pruner.Load("models/seed-oss-half");
using var tokens = torch.arange(12, torch.ScalarType.Int64).unsqueeze(0);
using var gates = Gates.FromPlan(result.Plan, model.Backend);
using var promised = model.Logits(tokens, gates);
using var computed = pruned.Logits(tokens);
if (pruned.Family.Name != "seed-oss" || !torch.allclose(promised, computed, rtol: 1e-3, atol: 1e-4))
{
    Console.Error.WriteLine("The pruned model does not compute what the gated model computes.");
    return 1;
}

return 0;
