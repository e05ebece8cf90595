using System.Diagnostics;

namespace DispLlm.Tool;

/// <summary>A selection whose output is still to be written.</summary>
/// <param name="Model">The dense model, loaded.</param>
/// <param name="Result">What was selected.</param>
/// <param name="Text">The calibration text; null where none was needed.</param>
/// <param name="Run">The run directory.</param>
/// <param name="Clock">Runs since the command began.</param>
internal sealed record CompletedSelection(PrunableModel Model, PruningResult Result, TokenCorpus? Text, CommandRun Run, Stopwatch Clock);
