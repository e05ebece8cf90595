using System.Text;
using Spectre.Console;

namespace DispLlm.Tool;

/// <summary>
/// An output that may disappear: a terminal that is closed, a pipe whose reader ends. What is written then is lost; the work is not, since
/// it stops by the signal, and saves.
/// </summary>
internal sealed class LossyOutput : TextWriter, IAnsiConsoleOutput
{
    private readonly TextWriter _writer;
    private readonly AnsiConsoleOutput _output;

    private LossyOutput(TextWriter writer)
    {
        _writer = writer;
        _output = new AnsiConsoleOutput(writer);
    }

    public TextWriter Writer => this;

    public bool IsTerminal => _output.IsTerminal;

    public int Width => _output.Width;

    public int Height => _output.Height;

    public override Encoding Encoding => _writer.Encoding;

    /// <summary>The output that a writer writes to, which is not disposed with it.</summary>
    public static LossyOutput Create(TextWriter writer) => new(writer);

    public void SetEncoding(Encoding encoding) => Try(() => _output.SetEncoding(encoding));

    public override void Write(char value) => Try(() => _writer.Write(value));

    public override void Write(char[] buffer, int index, int count) => Try(() => _writer.Write(buffer, index, count));

    public override void Write(string? value) => Try(() => _writer.Write(value));

    public override void Flush() => Try(_writer.Flush);

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
