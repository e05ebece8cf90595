using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>Shows how a model's tokenizer splits a text.</summary>
internal sealed class TokenizeCommand : ToolCommand
{
    private readonly Argument<string> _folder = new("folder") { Description = "Checkpoint folder, or any folder with a tokenizer's files" };

    private readonly Argument<string?> _text = new("text")
    {
        Description = "Text to split; without it, or with -, the standard input, its last line end included",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private readonly Option<bool> _lines = new("--jsonl")
    {
        Description = "Read a JSON string from each line of the standard input, and write a JSON array of ids for each",
    };

    private readonly Option<bool> _noSpecial = new("--no-special")
    {
        Description = "Leave out the tokens that the tokenizer adds around a text; those in the text stay",
    };

    public TokenizeCommand()
        : base(
            "tokenize",
            "Show the pieces and ids of a text. Reads no weights.",
            "displlm tokenize ./model \"Once upon a time\"",
            "displlm tokenize ./model --no-special < text.txt",
            "displlm tokenize ./model --jsonl < texts.jsonl > ids.jsonl")
    {
        Arguments.Add(_folder);
        Arguments.Add(_text);
        Options.Add(_lines);
        Options.Add(_noSpecial);
        AddCommonOptions();
        Validators.Add(result =>
        {
            if (result.GetValue(_lines) && result.GetValue(_text) is not (null or "-"))
            {
                result.AddError("'--jsonl' reads texts from the standard input: leave the text out.");
            }

            if (result.GetValue(_lines) && result.GetValue(Json))
            {
                result.AddError("'--jsonl' and '--json' cannot be combined: each writes its own form.");
            }
        });
    }

    protected override async Task RunAsync(ParseResult arguments, Terminal terminal, CancellationToken cancellationToken)
    {
        string folder = arguments.GetRequiredValue(_folder);
        var tokenizer = TextTokenizer.FromFolder(folder);
        bool addSpecialTokens = !arguments.GetValue(_noSpecial);
        if (arguments.GetValue(_lines))
        {
            using var input = OpenInput();
            for (int number = 1; await input.ReadLineAsync(cancellationToken) is { } line; number++)
            {
                var lineIds = tokenizer.Encode(ParseLine(line, number), addSpecialTokens);
                terminal.Stream($"[{string.Join(',', lineIds)}]\n");
            }

            return;
        }

        string? text = arguments.GetValue(_text);
        if (text is null or "-")
        {
            using var input = OpenInput();
            text = await input.ReadToEndAsync(cancellationToken);
        }

        var ids = tokenizer.Encode(text, addSpecialTokens);
        var pieces = ids.Select(id => tokenizer.GetToken(id) ?? "\uFFFD").ToArray();
        var json = new JsonObject
        {
            ["folder"] = folder,
            ["text"] = text,
            ["ids"] = new JsonArray([.. ids.Select(id => JsonValue.Create(id))]),
            ["pieces"] = new JsonArray([.. pieces.Select(piece => JsonValue.Create(piece))]),
        };
        terminal.Result(json, console =>
        {
            int width = Math.Max(2, $"{tokenizer.VocabularySize - 1}".Length);
            foreach (var (id, piece) in ids.Zip(pieces))
            {
                console.WriteUnwrapped($"{id.ToString(CultureInfo.InvariantCulture).PadLeft(width)}  {Visible(piece)}");
            }
        });
        terminal.Note(string.Create(CultureInfo.InvariantCulture, $"{ids.Count:N0} tokens"));
    }

    /// <summary>The standard input byte for byte: a byte order mark is part of a text.</summary>
    private static StreamReader OpenInput() => new(
        Console.OpenStandardInput(), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false), detectEncodingFromByteOrderMarks: false);

    private static string ParseLine(string line, int number)
    {
        try
        {
            return JsonSerializer.Deserialize<string>(line) ?? throw new JsonException("it is null");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new ToolException($"Line {number} of the standard input is not a JSON string: {e.Message}", e);
        }
    }

    /// <summary>A piece on one line: control characters as JSON writes them.</summary>
    private static string Visible(string piece) => string.Concat(piece.Select(c => c switch
    {
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        _ when char.IsControl(c) => string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:X4}"),
        _ => c.ToString(),
    }));
}
