using System.Globalization;
using AddYourOwnFamily;
using DispLlm;
using DispLlm.Modeling;
using TorchSharp;

// Prunes a model of a family that the library does not know: dotnet run [checkpoint folder [ratio]]
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
NativeTorch.EnsureLoaded();
string folder = args.Length > 0 ? args[0] : Path.Combine(AppContext.BaseDirectory, "seed-oss-tiny");
double ratio = args.Length > 1 ? double.Parse(args[1], CultureInfo.InvariantCulture) : 0.5;

// The one line that makes the family known. A family that contradicts itself is refused here.
var options = new LoadOptions { Families = ModelFamilies.BuiltIn.Add(new SeedOssFamily()) };
try
{
    using var model = PrunableModel.Load(folder, options: options);
    Console.WriteLine($"{model.Family.Name}: {new ParameterCounter(model.Spec).Dense.WholeModel:N0} parameters in {folder}");

    var result = await PruningPipeline.For(model).WithPruningRatio(ratio).WithStrategy(new MagnitudeSelection()).RunAsync();
    string target = Path.Combine(Path.GetTempPath(), $"displlm-{model.Family.Name}-{Guid.NewGuid():N}");
    await result.SaveAsync(target);

    // The pruned model computes what the gated model computes.
    using var pruned = PrunableModel.Load(target, options: options);
    using var tokens = torch.randint(0, model.Spec.VocabularySize, [1, 16], torch.ScalarType.Int64);
    using var gates = Gates.FromPlan(result.Plan, model.Backend);
    using var promised = model.Logits(tokens, gates);
    using var computed = pruned.Logits(tokens);
    using var difference = (promised - computed).abs().max() / promised.abs().max();
    Console.WriteLine($"kept {result.KeptFraction():P2} of the block weights; pruned and masked differ by {difference.ToDouble():E1} of "
        + "the largest logit");
    Console.WriteLine($"The pruned checkpoint is in {target}.");
    return 0;
}
catch (DispLlmException error)
{
    Console.Error.WriteLine(error.Message);
    return 1;
}
