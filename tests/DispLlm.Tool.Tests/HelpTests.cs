using System.Text.RegularExpressions;

namespace DispLlm.Tool.Tests;

public sealed partial class HelpTests(TestFolder folder) : IClassFixture<TestFolder>
{
    public static TheoryData<string> Commands => ["prune", "plan", "apply", "inspect", "eval", "generate", "tokenize", "families"];

    [Fact]
    public async Task Help_lists_commands_and_exit_codes()
    {
        var help = (await folder.RunAsync("--help")).With(0).Out;
        foreach (string command in Commands.Select(row => row.Data))
        {
            Assert.Matches($@"(?m)^  {command} (<.*>)? *\S", help);
        }

        foreach (int code in (int[])[0, 1, 2, 3, 4, 70, 129, 130, 143])
        {
            Assert.Matches($@"(?m)^  {code} +\S", help);
        }
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task Every_option_has_a_description_and_a_default(string command)
    {
        var outcome = (await folder.RunAsync(command, "--help")).With(0);
        Assert.Contains($"  displlm {command} ", outcome.Out.Split("Examples:")[1], StringComparison.Ordinal);
        var options = OptionLine().Matches(outcome.Out);
        Assert.Contains(options, option => option.Value.Contains("--json", StringComparison.Ordinal));
        foreach (Match option in options)
        {
            string description = option.Groups["description"].Value;
            Assert.True(description.Length > 10, $"{command}: no description: {option.Value}");
            bool takesValue = option.Groups["value"].Success;
            Assert.True(!takesValue || description.Contains("default", StringComparison.OrdinalIgnoreCase), $"{command}: no default: "
                + $"{option.Value}");
        }
    }

    [GeneratedRegex(@"^  (-[^ ]+, )*--[a-z-]+(?<value> <[^>]+>)? *(?<description>.*)$", RegexOptions.Multiline)]
    private static partial Regex OptionLine();
}
