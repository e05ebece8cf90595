using System.Text;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>
/// The standard error, which may disappear: a terminal that is closed, a log on a full disk. What is written then is lost; the work is not.
/// </summary>
internal sealed class LossyOutput(TextWriter writer) : TextWriter, IAnsiConsoleOutput
{
    private readonly AnsiConsoleOutput _output = new(writer);

    public TextWriter Writer => this;

    public bool IsTerminal => _output.IsTerminal;

    public int Width => _output.Width;

    public int Height => _output.Height;

    public override Encoding Encoding => writer.Encoding;

    public void SetEncoding(Encoding encoding) => Try(() => _output.SetEncoding(encoding));

    public override void Write(char value) => Try(() => writer.Write(value));

    public override void Write(char[] buffer, int index, int count) => Try(() => writer.Write(buffer, index, count));

    public override void Write(string? value) => Try(() => writer.Write(value));

    public override void Flush() => Try(writer.Flush);

    private static void Try(Action write)
    {
        try
        {
            write();
        }
        catch (IOException)
        {
        }
    }
}
