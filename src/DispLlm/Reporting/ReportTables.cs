using System.Text;

namespace DispLlm.Reporting;

/// <summary>The captions and tables of the page: null or empty for what was not measured.</summary>
internal static class ReportTables
{
    private static readonly (ParameterScope Scope, string Title)[] s_scopes =
    [
        (ParameterScope.BlockWeights, "Block weights"),
        (ParameterScope.BlockWeightsAndBiases, "With biases"),
        (ParameterScope.WholeModel, "Whole model"),
    ];

    public static string Lead(RunReport report)
    {
        var shape = report.Plan.Model;
        string family = report.Plan.Family is { } name ? $"{name}, " : string.Empty;
        string text = $"{family}{shape.NumLayers} blocks of {Markup.Count(shape.HiddenSize)} features, "
            + $"{Markup.Count(report.Plan.DenseParameters.WholeModel)} parameters, "
            + $"{Markup.Count(report.Plan.KeptParameters.WholeModel)} after pruning.";
        return $"""<p class="lead">{Markup.Text(text)}</p>""";
    }

    public static string Tiles(RunReport report)
    {
        var tiles = new StringBuilder("<dl class=\"tiles\">\n");
        Tile(
            "Block weights", Markup.FixedPercent(report.Plan.KeptFraction()),
            $"of all parameters {Markup.FixedPercent(report.Plan.KeptFraction(ParameterScope.WholeModel))}");
        if (report.Plan.KeptCacheFraction() < 1)
        {
            Tile("Key-value cache", Markup.FixedPercent(report.Plan.KeptCacheFraction()), "of the dense model\u2019s");
        }

        if (report.Perplexity is { } perplexity)
        {
            Tile("Perplexity", Markup.Number(perplexity.After.Perplexity), $"dense {Markup.Number(perplexity.Before.Perplexity)}");
        }

        if (report.Tasks.Count > 0)
        {
            double Mean(Func<BeforeAfter<ZeroShotScore>, ZeroShotScore> side) =>
                report.Tasks.Average(task => ComparisonChart.GetPublishedAccuracy(side(task)).Value);
            Tile(
                report.Tasks.Count == 1 ? "Zero-shot accuracy" : $"Mean of {report.Tasks.Count} tasks",
                Markup.FixedPercent(Mean(task => task.After)), $"dense {Markup.FixedPercent(Mean(task => task.Before))}");
        }

        if (report.Agreement is { } agreement)
        {
            Tile(
                "Top-1 agreement", Markup.FixedPercent(agreement.Top1Agreement),
                $"KL divergence {Markup.Number(agreement.KlDivergence)} nats");
        }

        if (report.Prefill is { } prefill)
        {
            Tile("Prefill speed", Markup.Ratio(prefill.After / prefill.Before), "of the dense model\u2019s");
        }

        if (report.Decode is { } decode)
        {
            Tile("Decode speed", Markup.Ratio(decode.After / decode.Before), "of the dense model\u2019s");
        }

        if (report.WeightBytes is { } bytes)
        {
            Tile("Weights on disk", Markup.Bytes(bytes.After), $"dense {Markup.Bytes(bytes.Before)}");
        }

        return tiles.Append("</dl>").ToString();

        void Tile(string what, string value, string note) => tiles.Append(
            $"<div><dt>{Markup.Text(what)}</dt><dd>{Markup.Text(value)}</dd><dd>{Markup.Text(note)}</dd></div>\n");
    }

    public static string? Budget(RunReport report)
    {
        if (report.Plan.Provenance.Budget is not { } budget)
        {
            return null;
        }

        long target = budget.TargetFor(new ParameterCounter(report.Plan.Model)), kept = report.Plan.KeptParameters[budget.Scope];
        string scope = budget.Scope switch
        {
            ParameterScope.BlockWeights => "the block weights",
            ParameterScope.BlockWeightsAndBiases => "the block weights and biases",
            _ => "all parameters",
        };
        string requested = budget.Kind switch
        {
            BudgetKind.Ratio => $"{Markup.Percent((double)budget.Value)} of {scope} removed",
            BudgetKind.KeepFraction => $"{Markup.Percent((double)budget.Value)} of {scope} kept",
            _ => $"{Markup.Count((long)budget.Value)} of {scope} kept",
        };
        string kind = kept == target
            ? "exactly the budget"
            : $"{Markup.Count(Math.Abs(target - kept))} {(kept < target ? "below" : "above")} it";
        return $"Budget: {requested}, at most {Markup.Count(target)}. Kept: {Markup.Count(kept)}, {kind}.";
    }

    public static string Parameters(RunReport report) => Table(
        "Parameters", ["Counted", "Dense", "Kept", "Kept fraction"],
        s_scopes.Select(scope => new[]
        {
            scope.Title,
            Markup.Count(report.Plan.DenseParameters[scope.Scope]),
            Markup.Count(report.Plan.KeptParameters[scope.Scope]),
            Markup.ExactPercent(report.Plan.KeptFraction(scope.Scope)),
        }));

    public static string? QualityCaption(RunReport report)
    {
        var sentences = new List<string>();
        if (report.Perplexity is { } perplexity)
        {
            string text = report.PerplexityText is { } named ? $" of {named}" : string.Empty;
            sentences.Add(
                $"Perplexity evaluated on {Markup.Count(perplexity.After.PredictedTokens)} tokens{text}, with windows of "
                    + $"{Markup.Count(perplexity.After.WindowLength)}.");
        }

        if (report.Agreement is { } agreement)
        {
            sentences.Add(
                $"On {Markup.Count(agreement.Tokens)} tokens the pruned model has the same most likely token as the dense model in "
                    + $"{Markup.Percent(agreement.Top1Agreement)} of "
                + $"cases, and a KL divergence of {Markup.Number(agreement.KlDivergence)} nats per token.");
        }

        if (report.Tasks.Count > 0)
        {
            sentences.Add("Tasks are scored by log-likelihood, normalized by length where the task has that.");
        }

        return sentences.Count == 0 ? null : string.Join(' ', sentences);
    }

    public static string Tasks(RunReport report)
    {
        if (report.Tasks.Count == 0)
        {
            return string.Empty;
        }

        string Score(double? value, double? error) =>
            value is { } share ? $"{Markup.FixedPercent(share)} \u00B1 {Markup.FixedPercent(error ?? 0)}" : "\u2013";
        string[] head = ["Task", "Items", "acc dense", "acc pruned", "acc_norm dense", "acc_norm pruned"];
        return Table("Zero-shot tasks", head, report.Tasks.Select(task => new[]
        {
            task.Before.Task,
            Markup.Count(task.After.Items),
            Score(task.Before.Accuracy, task.Before.AccuracyError),
            Score(task.After.Accuracy, task.After.AccuracyError),
            Score(task.Before.NormalizedAccuracy, task.Before.NormalizedAccuracyError),
            Score(task.After.NormalizedAccuracy, task.After.NormalizedAccuracyError),
        }));
    }

    public static string? CostCaption(RunReport report) => report.Prefill is null && report.Decode is null
        ? null
        : $"Speeds are relative to the dense model, measured in turns{(report.Settings.Backend is { } backend ? $" on {backend}" : "")}.";

    public static string WidthsCaption(PruningLayout layout) => (layout.HasOneStream(), layout.Selects(SelectionSite.AttentionInput)) switch
    {
        (true, _) => "The whole model has one selection of the residual stream, and all that holds the stream is cut with it.",
        (_, false) => "The residual stream is kept whole: what is pruned are narrower matrices within the blocks.",
        _ => "Every block has its own selection of the features that it reads from the residual stream and writes to it.",
    } + " One bar per block, the first block left.";

    public static string Widths(RunReport report) => Folded("All widths as a table", Table(
        "Widths", ["Block", .. SelectionSites.All.Select(site => $"S{(int)site} of {Markup.Count(report.Plan.Model.SiteSize(site))}")],
        report.Widths.Select(
            (widths, block) => new[] { $"{block}" }.Concat(SelectionSites.All.Select(site => Markup.Count(widths[site]))).ToArray())));

    public static string KeptCaption(RunReport report) =>
        "One row per block, the first block on top; kept features are coloured."
        + (report.AdjacentBlockOverlaps.Count == 0
            ? string.Empty
            : " Bars show the overlap of adjacent blocks (Jaccard index); the mark on a bar is the expected overlap of random selections "
                + "of the same widths.")
        + (report.Plan.Scales is { } scales ? $" Kept features are multiplied by {scales}, folded into the weights." : string.Empty);

    public static string Overlaps(RunReport report)
    {
        var shares = report.AdjacentBlockOverlaps;
        return shares.Count == 0
            ? string.Empty
            : Table("Overlap of adjacent blocks", ["Site", "Mean", "Expected at random", "Minimum", "Maximum"],
            shares.GroupBy(share => share.Site).Select(site => new[]
            {
                site.Key.GetTitle(),
                Markup.FixedPercent(site.Average(share => share.Jaccard)),
                Markup.FixedPercent(site.Average(share => share.ExpectedJaccard)),
                Markup.FixedPercent(site.Min(share => share.Jaccard)),
                Markup.FixedPercent(site.Max(share => share.Jaccard)),
            }));
    }

    public static string? TrainingCaption(RunReport report) => report.History.Count == 0
        ? null
        : $"{Markup.Count(report.History.Count)} steps on {Markup.Count(report.History[^1].Tokens)} tokens. Every step samples new gates, "
            + $"so the curves are noisy; "
            + "where a point is the mean of several steps, the band shows their minimum and maximum.";

    public static string Settings(RunReport report)
    {
        var (plan, from) = (report.Plan, report.Plan.Provenance);
        (string Key, string? Value)[] rows =
        [
            ("Model", report.Model),
            ("Strategy", from.Strategy),
            ("Budget", from.Budget?.ToString()),
            ("Seed", from.Seed is { } seed ? FormattableString.Invariant($"{seed}") : null),
            ("Width multiple", from.WidthMultiple is { } multiple ? FormattableString.Invariant($"{multiple}") : null),
            ("Layout", plan.Layout.ToString()),
            ("Norm order", plan.NormOrder.ToString()),
            ("Calibration text", report.Settings.Calibration),
            ("Backend", report.Settings.Backend),
            ("Library", $"DispLlm {report.Settings.Library}"),
            ("Notes", from.Notes),
            .. report.Settings.Options.Select(option => (option.Key, (string?)option.Value)),
        ];
        return Table(
            "Settings", ["Setting", "Value"], rows.Where(row => row.Value is not null).Select(row => new[] { row.Key, row.Value! }),
            "settings");
    }

    private static string Folded(string summary, string content) =>
        $"<details>\n<summary>{Markup.Text(summary)}</summary>\n{content}</details>\n";

    /// <summary>A table in a region that scrolls on narrow screens and is reachable by keyboard.</summary>
    private static string Table(string name, string[] head, IEnumerable<string[]> rows, string style = "figures")
    {
        var table = new StringBuilder();
        table.Append($"""<div class="scroll" role="region" tabindex="0" aria-label="{Markup.Text(name)}"><table class="{style}">""");
        table.Append("<thead><tr>").AppendJoin("", head.Select(cell => $"<th scope=\"col\">{Markup.Text(cell)}</th>"))
            .Append("</tr></thead>\n<tbody>\n");
        foreach (string[] row in rows)
        {
            table.Append($"<tr><th scope=\"row\">{Markup.Text(row[0])}</th>")
                .AppendJoin("", row.Skip(1).Select(cell => $"<td>{Markup.Text(cell)}</td>")).Append("</tr>\n");
        }

        return table.Append("</tbody></table></div>\n").ToString();
    }
}
