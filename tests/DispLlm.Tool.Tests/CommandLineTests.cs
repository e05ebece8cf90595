using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;

namespace DispLlm.Tool.Tests;

/// <summary>What is wrong with a command line is one line and exit code 2, for every option of every command that there is.</summary>
public sealed class CommandLineTests : IDisposable
{
    private static readonly string[] s_noNumbers =
    [
        "abc", "1e99", "1e999", "0,5", "1,000", "1.000,5", "NaN", "Infinity", "0x10", "50%", "1_000", "1 000", "½", "٣", "+", "-",
        ".", "1.2.3", "99999999999999999999999999999999",
    ];

    private readonly CultureInfo _culture = CultureInfo.CurrentCulture;

    public static TheoryData<string, string> Numbers => Options(option => IsNumber(option));

    public static TheoryData<string, string> Values => Options(option => !IsFlag(option));

    public static TheoryData<string, string> Texts => Options(option => !IsFlag(option) && !IsNumber(option));

    public static TheoryData<string, string> All => Options(_ => true);

    public static TheoryData<string> Commands => [.. Tree.Subcommands.Select(command => command.Name)];

    /// <summary>Numbers as in most of Europe; a system without language data has no such culture by name.</summary>
    private static CultureInfo Comma => new(string.Empty)
    {
        NumberFormat = { NumberDecimalSeparator = ",", NumberGroupSeparator = ".", NegativeSign = "\u2212" },
    };

    private static Command Tree => DispLlmCli.Create([]);

    public void Dispose() => CultureInfo.CurrentCulture = _culture;

    [Fact]
    public void The_options_are_found()
    {
        Assert.Contains(("prune", "--ratio"), Numbers.Select(row => row.Data));
        Assert.Contains(("generate", "--top-p"), Numbers.Select(row => row.Data));
        Assert.Contains(("eval", "--task"), Texts.Select(row => row.Data));
        Assert.True(Numbers.Count > 15);
    }

    [Theory]
    [MemberData(nameof(Numbers))]
    public async Task What_is_no_number_is_refused_whatever_the_language_of_the_system(string command, string option)
    {
        foreach (var culture in (CultureInfo[])[CultureInfo.InvariantCulture, Comma])
        {
            CultureInfo.CurrentCulture = culture;
            foreach (string text in s_noNumbers.Where(text => IsWhole(Find(command, option)) || !IsReal(text)))
            {
                await RefusesAsync($"{option} {text}", [.. Line(command), option, text]);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Numbers))]
    public void A_decimal_point_is_read_in_every_language(string command, string option)
    {
        bool isWhole = IsWhole(Find(command, option));
        foreach (var culture in (CultureInfo[])[CultureInfo.InvariantCulture, Comma])
        {
            CultureInfo.CurrentCulture = culture;
            var parsed = DispLlmCli.Create([]).Parse([.. Line(command), option, isWhole ? "7" : "0.25"]);
            Assert.Equal(isWhole ? 7 : 0.25, Read(parsed, command, option));
        }
    }

    [Theory]
    [MemberData(nameof(Values))]
    public async Task A_missing_value_and_a_second_one_are_refused(string command, string option)
    {
        await RefusesAsync(option, [.. Line(command), option]);
        var found = Find(command, option);
        if (found.Arity.MaximumNumberOfValues == 1)
        {
            string value = IsNumber(found) ? "1" : "x";
            await RefusesAsync(option, [.. Line(command), option, value, option, value]);
        }
    }

    [Theory]
    [MemberData(nameof(Texts))]
    public async Task An_empty_value_and_another_option_in_its_place_are_refused(string command, string option)
    {
        await RefusesAsync(option, [.. Line(command), option, ""]);
        await RefusesAsync("'--unheard-of'", [.. Line(command), option, "--unheard-of"]);
    }

    [Theory]
    [MemberData(nameof(All))]
    public async Task A_misspelt_option_is_suggested(string command, string option)
    {
        // Two neighbours swapped, one letter left out, one letter too many; of a name of two letters, only that.
        string longer = option + "s";
        string[] words = option.Length < 5 ? [longer]
            : [option[..3] + option[4] + option[3] + option[5..], option[..3] + option[4..], longer];
        foreach (string word in words.Where(word => word != option))
        {
            string expected = $"There is no option '{word}'. Did you mean '{option}'?";
            await RefusesAsync(expected, [.. Line(command), word]);
            await RefusesAsync(expected, [.. Line(command), word, "1"]);
            await RefusesAsync(expected, [.. Line(command), $"{word}=1"]);
        }
    }

    [Theory]
    [InlineData("--json=abc")]
    [InlineData("--quiet=abc")]
    [InlineData("--quiet --quiet=2")]
    [InlineData("--verbose --quiet")]
    public async Task A_flag_with_a_value_is_refused(string flags)
    {
        foreach (var command in Tree.Subcommands)
        {
            await RefusesAsync("--", [.. Line(command.Name), .. flags.Split(' ')]);
        }
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task A_misspelt_command_is_suggested(string command)
    {
        await RefusesAsync($"Did you mean '{command}'?", [command[..^1] + "x", "./model"]);
        await RefusesAsync($"Did you mean '{command}'?", [command.ToUpperInvariant(), "./model", "--ratio", "0.3"]);
    }

    [Theory]
    [InlineData("dance ./model", "There is no command 'dance'")]
    [InlineData("--ratio 0.3", "There is no option '--ratio'")]
    [InlineData("prune ./model ./other", "'./other' is one value too many")]
    [InlineData("inspect a b c", "'c' is one value too many")]
    [InlineData("prune ./model --ratio 50", "Did you mean 0.5?")]
    [InlineData("prune ./model --ratio 2.5", "Did you mean 0.025?")]
    [InlineData("prune ./model --ratio 30%", "Did you mean 0.3?")]
    [InlineData("prune ./model --ratio 0,3", "with a point before decimals and no comma. Did you mean 0.3?")]
    [InlineData("prune ./model --ratio 12.5%", "Did you mean 0.125?")]
    [InlineData("prune ./model --keep 80", "Did you mean 0.8?")]
    [InlineData("plan ./model --keep 1", "it removes nothing")]
    [InlineData("plan ./model --ratio 0", "it removes nothing")]
    [InlineData("generate ./model Hello --top-p 95", "Did you mean 0.95?")]
    [InlineData("prune ./model --steps 1e3", "Did you mean 1000?")]
    [InlineData("prune ./model --steps 1,000", "Did you mean 1000?")]
    [InlineData("prune ./model --steps 100.0", "Did you mean 100?")]
    [InlineData("prune ./model --steps 1e99", "from -2147483648 to 2147483647")]
    [InlineData("prune ./model --strategy fishr", "Did you mean 'fisher'?")]
    [InlineData("eval ./model --measure perplexty", "Did you mean 'perplexity'?")]
    [InlineData("eval ./a ./b --windw 32", "Did you mean '--window'?")]
    [InlineData("generate ./model --tokns 5", "Did you mean '--tokens'?")]
    [InlineData("generate ./model --tokns=5", "Did you mean '--tokens'?")]
    [InlineData("prune ./model -x", "There is no option '-x'")]
    public async Task The_error_says_what_was_probably_meant(string line, string expected) => await RefusesAsync(expected, line.Split(' '));

    [Theory]
    [InlineData("prune ./model --ratio 150")]
    [InlineData("prune ./model --ratio 1.5")]
    [InlineData("prune ./model --ratio -0.3")]
    [InlineData("prune ./model --ratio 1,000,000")]
    [InlineData("prune ./model --steps 1.5")]
    [InlineData("dance ./model")]
    public async Task Nothing_is_suggested_where_nothing_is_close(string line) =>
        Assert.DoesNotContain("Did you mean", (await RunAsync(line.Split(' '))).With(2).Error, StringComparison.Ordinal);

    [Fact]
    public async Task After_two_dashes_everything_is_a_value()
    {
        var outcome = (await RunAsync("inspect", "--", "--no-such-folder")).With(1);
        Assert.Contains("--no-such-folder", outcome.Error, StringComparison.Ordinal);
    }

    private static bool IsReal(string text) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && double.IsFinite(value);

    private static bool IsFlag(Option option) => option.ValueType == typeof(bool);

    private static bool IsNumber(Option option) =>
        (Nullable.GetUnderlyingType(option.ValueType) ?? option.ValueType) is var type
        && (type == typeof(int) || type == typeof(long) || type == typeof(double));

    private static bool IsWhole(Option option) =>
        IsNumber(option) && option.ValueType != typeof(double) && option.ValueType != typeof(double?);

    private static TheoryData<string, string> Options(Func<Option, bool> isWanted) => [.. Tree.Subcommands.SelectMany(
        command => command.Options.Where(isWanted).Select(option => (command.Name, option.Name)))];

    private static Option Find(string command, string option) => Find(Tree, command, option);

    private static Option Find(Command tree, string command, string option) =>
        tree.Subcommands.First(child => child.Name == command).Options.First(candidate => candidate.Name == option);

    private static double? Read(ParseResult parsed, string command, string option) =>
        Find(parsed.RootCommandResult.Command, command, option) switch
        {
            Option<int> number => parsed.GetValue(number),
            Option<int?> number => parsed.GetValue(number),
            Option<long> number => parsed.GetValue(number),
            Option<double> number => parsed.GetValue(number),
            Option<double?> number => parsed.GetValue(number),
            var other => throw new NotSupportedException($"{other.Name} is a number of a new type."),
        };

    /// <summary>A command with its arguments: folders that are not there, so that what is wrongly accepted fails at once.</summary>
    private static string[] Line(string command) => command switch
    {
        "apply" => [command, "./none", "./none"],
        "generate" => [command, "./none", "Hello"],
        _ => [command, "./none"],
    };

    private static async Task RefusesAsync(string expected, string[] line)
    {
        string shown = string.Join(' ', line);
        var plain = await RunAsync(line);
        Assert.True(plain.ExitCode == 2, $"{shown}: exit code {plain.ExitCode}.\n{plain.Error}");
        Assert.True(plain.Error.TrimEnd().Split('\n').Length == 1, $"{shown}: more than one line.\n{plain.Error}");
        Assert.Contains(expected, plain.Error, StringComparison.Ordinal);
        Assert.Contains("--help", plain.Error, StringComparison.Ordinal);
        if (!shown.Contains("--json", StringComparison.Ordinal))
        {
            Assert.Empty(plain.Out);
            var json = await RunAsync([line[0], "--json", .. line[1..]]);
            Assert.Equal(2, json.ExitCode);
            var error = (JsonObject)json.Json["error"]!;
            Assert.Equal(("UsageError", 2), ((string?)error["kind"], (int?)error["exit_code"]));
            Assert.Contains(expected, (string?)error["message"], StringComparison.Ordinal);
        }
    }

    private static async Task<Outcome> RunAsync(params string[] line)
    {
        using StringWriter output = new(), error = new();
        int code = await DispLlmCli.RunAsync(line, output, error);
        return new Outcome(code, output.ToString(), error.ToString());
    }
}
