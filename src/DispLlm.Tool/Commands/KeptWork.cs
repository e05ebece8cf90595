namespace DispLlm.Tool;

/// <summary>What a command that ended early has kept.</summary>
/// <param name="Description">What, where, and what the command line below does with it.</param>
/// <param name="Command">The command line that resumes or finishes.</param>
internal sealed record KeptWork(string Description, string Command)
{
    public override string ToString() => $"{Description}{Environment.NewLine}  {Command}";
}
