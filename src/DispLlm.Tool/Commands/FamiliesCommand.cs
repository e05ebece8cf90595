using System.CommandLine;
using System.Text.Json.Nodes;
using DispLlm.Modeling;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>Lists the model families that the tool reads.</summary>
internal sealed class FamiliesCommand : ToolCommand
{
    public FamiliesCommand()
        : base("families", "List the model families that are read.", "displlm families", "displlm families --json")
    {
        AddCommonOptions();
    }

    protected override Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellationToken)
    {
        (IModelFamily Family, DecoderSpec Spec)[] families =
            [.. ModelFamilies.BuiltIn.All.Select(family => (family, DecoderSpec.Read(family.Example, family)))];
        var json = new JsonArray([.. families.Select(entry => new JsonObject
        {
            ["family"] = entry.Family.Name,
            ["model_types"] = new JsonArray([.. entry.Family.ModelTypes.Select(type => JsonValue.Create(type))]),
            ["example"] = entry.Family.Example.File,
            ["norms"] = SpecDescription.Norms(entry.Spec),
            ["positions"] = SpecDescription.Positions(entry.Spec),
            ["attention"] = SpecDescription.AttentionParts(entry.Spec),
            ["mlp"] = SpecDescription.Mlp(entry.Spec),
            ["residual_stream"] = SpecDescription.Residual(entry.Spec),
        })]);
        terminal.Result(new JsonObject { ["families"] = json }, console =>
        {
            var table = new Table().NoBorder().AddColumns("model_type", "for instance", "built of");
            foreach (var (family, spec) in families)
            {
                table.AddRow(
                    new Text(string.Join(", ", family.ModelTypes)),
                    new Text(family.Example.File),
                    new Text(SpecDescription.Describe(spec)));
            }

            console.Write(table);
        });
        return Task.CompletedTask;
    }
}
