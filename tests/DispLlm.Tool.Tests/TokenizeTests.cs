using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace DispLlm.Tool.Tests;

public sealed class TokenizeTests(TestFolder folder) : IClassFixture<TestFolder>
{
    [Fact]
    public async Task Pieces_and_ids_are_shown_with_what_the_tokenizer_adds()
    {
        var tokenizer = TextTokenizer.FromFolder(folder["model"]);
        string[] lines = Lines((await folder.RunAsync("tokenize", "./model", "the captain\n")).With(0).Out);
        var ids = tokenizer.Encode("the captain\n", addSpecialTokens: true);
        Assert.Equal(ids.Select(id => $"{id,4}  {tokenizer.GetToken(id)}"), lines);
        Assert.Equal("   1  <s>", lines[0]);
        Assert.EndsWith("  <0x0A>", lines[^1], StringComparison.Ordinal);

        string[] plain = Lines((await folder.RunAsync("tokenize", "./model", "the captain\n", "--no-special", "--quiet")).With(0).Out);
        Assert.Equal(lines[1..], plain);
    }

    [Fact]
    public async Task Json_has_the_ids_and_the_pieces()
    {
        var json = (await folder.RunAsync("tokenize", "./model", "the", "--json", "--quiet")).With(0).Json;
        Assert.Equal("the", (string?)json["text"]);
        Assert.Equal([1, .. TextTokenizer.FromFolder(folder["model"]).Encode("the")], json["ids"]!.AsArray().Select(id => (int)id!));
        Assert.Equal("<s>", (string?)json["pieces"]![0]);
    }

    [Fact]
    public async Task Each_line_of_the_standard_input_is_a_text()
    {
        string[] texts = ["the captain", "", "a\n\"b\"\u2028", "\uFEFFé 🙂"];
        string input = string.Concat(texts.Select(text => JsonSerializer.Serialize(text) + "\n"));
        var outcome = await RunAsync(input, "tokenize", "./model", "--jsonl", "--no-special");
        var tokenizer = TextTokenizer.FromFolder(folder["model"]);
        Assert.Equal(texts.Select(text => $"[{string.Join(',', tokenizer.Encode(text))}]"), Lines(outcome.With(0).Out));
    }

    [Fact]
    public async Task The_standard_input_is_the_text_byte_for_byte()
    {
        const string Text = "\uFEFFtwo\r\nlines\n";
        var json = (await RunAsync(Text, "tokenize", "./model", "--json", "--no-special")).With(0).Json;
        Assert.Equal(Text, (string?)json["text"]);
        Assert.Equal(TextTokenizer.FromFolder(folder["model"]).Encode(Text), json["ids"]!.AsArray().Select(id => (int)id!));
    }

    [Fact]
    public async Task A_line_that_is_no_json_string_is_named()
    {
        var outcome = (await RunAsync("\"a\"\nb\n", "tokenize", "./model", "--jsonl")).With(1);
        Assert.Contains("Line 2", outcome.Error, StringComparison.Ordinal);
        Assert.Single(Lines(outcome.Out));
    }

    [Theory]
    [InlineData("tokenize ./model text --jsonl", 2, "--jsonl")]
    [InlineData("tokenize ./model --jsonl --json", 2, "--json")]
    [InlineData("tokenize", 2, "folder")]
    [InlineData("tokenize ./none text", 1, "no folder")]
    public async Task What_cannot_be_is_refused(string line, int code, string expected)
    {
        var outcome = (await folder.RunAsync(line.Split(' '))).With(code);
        Assert.Contains(expected, outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", outcome.Error, StringComparison.Ordinal);
    }

    private static string[] Lines(string output) => output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Runs the tool as a process, with a standard input.</summary>
    private async Task<Outcome> RunAsync(string input, params string[] arguments)
    {
        using var tool = Process.Start(new ProcessStartInfo("dotnet", [ToolProcess.Program, .. arguments])
        {
            WorkingDirectory = folder.Folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var output = tool.StandardOutput.ReadToEndAsync();
        var error = tool.StandardError.ReadToEndAsync();
        await tool.StandardInput.BaseStream.WriteAsync(Encoding.UTF8.GetBytes(input));
        tool.StandardInput.Close();
        await tool.WaitForExitAsync();
        return new Outcome(tool.ExitCode, await output, await error);
    }
}
