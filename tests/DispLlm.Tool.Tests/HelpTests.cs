using System.Text.RegularExpressions;

namespace DispLlm.Tool.Tests;

public sealed partial class HelpTests
{
    public static TheoryData<string> Verbs => ["prune", "plan", "apply", "inspect", "eval", "generate"];

    [Fact]
    public async Task The_command_names_its_verbs_and_exit_codes()
    {
        var help = (await ToolProcess.RunAsync(Path.GetTempPath(), "--help")).With(0).Out;
        foreach (string verb in Verbs.Select(row => row.Data))
        {
            Assert.Matches($@"(?m)^  {verb} <.*> +\S", help);
        }

        foreach (int code in (int[])[0, 1, 2, 3, 4, 70, 130, 143])
        {
            Assert.Matches($@"(?m)^  {code} +\S", help);
        }
    }

    [Theory]
    [MemberData(nameof(Verbs))]
    public async Task Every_option_says_what_it_is_for_and_what_it_is_by_default(string verb)
    {
        var outcome = (await ToolProcess.RunAsync(Path.GetTempPath(), verb, "--help")).With(0);
        Assert.Contains($"  displlm {verb} ", outcome.Out.Split("Examples:")[1], StringComparison.Ordinal);
        var options = OptionLine().Matches(outcome.Out);
        Assert.Contains(options, option => option.Value.Contains("--json", StringComparison.Ordinal));
        foreach (Match option in options)
        {
            string description = option.Groups["description"].Value;
            Assert.True(description.Length > 10, $"{verb}: no description: {option.Value}");
            bool takesValue = option.Groups["value"].Success;
            Assert.True(!takesValue || description.Contains("default", StringComparison.OrdinalIgnoreCase), $"{verb}: no default: {option.Value}");
        }
    }

    [GeneratedRegex(@"^  (-[^ ]+, )*--[a-z-]+(?<value> <[^>]+>)? *(?<description>.*)$", RegexOptions.Multiline)]
    private static partial Regex OptionLine();
}
