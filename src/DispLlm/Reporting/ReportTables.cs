using System.Text;

namespace DispLlm.Reporting;

/// <summary>The page's words and tables. Each gives nothing where the report has nothing to say.</summary>
internal static class ReportTables
{
    private static readonly (ParameterScope Scope, string Words)[] s_scopes =
    [
        (ParameterScope.BlockWeights, "Block weights"),
        (ParameterScope.BlockWeightsAndBiases, "With biases"),
        (ParameterScope.WholeModel, "Whole model"),
    ];

    public static string Lead(RunReport report)
    {
        var shape = report.Plan.Model;
        string family = report.Plan.Family is { } name ? $"{name}, " : string.Empty;
        string text = $"{family}{shape.NumLayers} blocks of {Markup.Count(shape.HiddenSize)} features, {Markup.Count(report.Plan.DenseParameters.WholeModel)} parameters before, "
            + $"{Markup.Count(report.Plan.KeptParameters.WholeModel)} after.";
        return $"""<p class="lead">{Markup.Text(text)}</p>""";
    }

    public static string Tiles(RunReport report)
    {
        var tiles = new StringBuilder("<dl class=\"tiles\">\n");
        Tile("Block weights", Markup.Rate(report.Plan.KeptFraction()), $"of all parameters {Markup.Rate(report.Plan.KeptFraction(ParameterScope.WholeModel))}");
        if (report.Perplexity is { } perplexity)
        {
            Tile("Perplexity", Markup.Measure(perplexity.After.Perplexity), $"dense {Markup.Measure(perplexity.Before.Perplexity)}");
        }

        if (report.Tasks.Count > 0)
        {
            double Mean(Func<BeforeAfter<ZeroShotScore>, ZeroShotScore> side) => report.Tasks.Average(task => ComparisonChart.Published(side(task)).Value);
            Tile($"Mean of {Many(report.Tasks.Count, "task")}", Markup.Rate(Mean(task => task.After)), $"dense {Markup.Rate(Mean(task => task.Before))}");
        }

        if (report.Agreement is { } agreement)
        {
            Tile("Same next token", Markup.Rate(agreement.Top1Agreement), $"divergence {Markup.Measure(agreement.KlDivergence)} nats");
        }

        if (report.Prefill is { } prefill)
        {
            Tile("Reading speed", Markup.Times(prefill.After / prefill.Before), "of the dense model\u2019s");
        }

        if (report.Decode is { } decode)
        {
            Tile("Writing speed", Markup.Times(decode.After / decode.Before), "of the dense model\u2019s");
        }

        if (report.WeightBytes is { } bytes)
        {
            Tile("Weights on disk", Markup.Bytes(bytes.After), $"dense {Markup.Bytes(bytes.Before)}");
        }

        return tiles.Append("</dl>").ToString();

        void Tile(string what, string value, string note) => tiles.Append(
            $"<div><dt>{Markup.Text(what)}</dt><dd>{Markup.Text(value)}</dd><dd>{Markup.Text(note)}</dd></div>\n");
    }

    public static string? Asked(RunReport report)
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
        string asked = budget.Kind switch
        {
            BudgetKind.Ratio => $"{Markup.Share((double)budget.Value)} of {scope} were to go",
            BudgetKind.KeepFraction => $"{Markup.Share((double)budget.Value)} of {scope} were to stay",
            _ => $"{Markup.Count((long)budget.Value)} of {scope} were to stay",
        };
        string reached = kept == target ? "just that" : $"{Markup.Count(kept)}, {Markup.Count(Math.Abs(target - kept))} {(kept < target ? "below" : "above")} it";
        return $"Asked: {asked}, which leaves at most {Markup.Count(target)}. Reached: {reached}.";
    }

    public static string Counts(RunReport report) => Table(
        "Parameters", ["Counted", "Dense", "Kept", "Share kept"],
        s_scopes.Select(scope => new[]
        {
            scope.Words,
            Markup.Count(report.Plan.DenseParameters[scope.Scope]),
            Markup.Count(report.Plan.KeptParameters[scope.Scope]),
            Markup.ExactShare(report.Plan.KeptFraction(scope.Scope)),
        }));

    public static string? QualityCaption(RunReport report)
    {
        var sentences = new List<string>();
        if (report.Perplexity is { } perplexity)
        {
            string text = report.PerplexityText is { } named ? $" of {named}" : string.Empty;
            sentences.Add($"Perplexity over {Markup.Count(perplexity.After.PredictedTokens)} tokens{text}, in windows of {Markup.Count(perplexity.After.WindowLength)}.");
        }

        if (report.Agreement is { } agreement)
        {
            sentences.Add(
                $"Over {Markup.Count(agreement.Tokens)} tokens the pruned model thinks the same token most likely in {Markup.Share(agreement.Top1Agreement)} of cases; its predictions diverge "
                + $"from the dense model\u2019s by {Markup.Measure(agreement.KlDivergence)} nats a token.");
        }

        if (report.Tasks.Count > 0)
        {
            sentences.Add("Tasks are scored by log-likelihood, normalised by length where the task has that.");
        }

        return sentences.Count == 0 ? null : string.Join(' ', sentences);
    }

    public static string Tasks(RunReport report)
    {
        if (report.Tasks.Count == 0)
        {
            return string.Empty;
        }

        string Score(double? value, double? error) => value is { } share ? $"{Markup.Rate(share)} \u00B1 {Markup.Rate(error ?? 0)}" : "\u2013";
        return Table("Zero-shot tasks", ["Task", "Items", "acc dense", "acc pruned", "acc_norm dense", "acc_norm pruned"], report.Tasks.Select(task => new[]
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
        : $"Speeds are ratios of one run{(report.Settings.Backend is { } backend ? $" on {backend}" : "")}: both models took turns.";

    public static string Widths(RunReport report) => Folded("All widths as a table", Table(
        "Widths", ["Block", .. SelectionSites.All.Select(site => $"S{(int)site} of {Markup.Count(report.Plan.Model.SiteSize(site))}")],
        report.Widths.Select((widths, block) => new[] { $"{block}" }.Concat(SelectionSites.All.Select(site => Markup.Count(widths[site]))).ToArray())));

    public static string KeptCaption(RunReport report) =>
        "One row a block, first block on top; coloured where a feature stays."
        + (report.AdjacentBlockOverlaps.Count == 0
            ? string.Empty
            : " The bars beside it show how much of what either of two neighbouring blocks keeps both keep; the mark on a bar is what random selections of the same widths would share.")
        + (report.Plan.Scales is { } gains ? $" What stays is multiplied by {gains}; the cut writes that into the weights." : string.Empty);

    public static string Shares(RunReport report)
    {
        var shares = report.AdjacentBlockOverlaps;
        return shares.Count == 0 ? string.Empty : Table("Shared by neighbouring blocks", ["Site", "Shared, mean", "By chance", "Least", "Most"],
            shares.GroupBy(share => share.Site).Select(of => new[]
            {
                of.Key.Title(),
                Markup.Rate(of.Average(share => share.Share)),
                Markup.Rate(of.Average(share => share.ByChance)),
                Markup.Rate(of.Min(share => share.Share)),
                Markup.Rate(of.Max(share => share.Share)),
            }));
    }

    public static string? LearningCaption(RunReport report) => report.History.Count == 0
        ? null
        : $"{Markup.Count(report.History.Count)} steps over {Markup.Count(report.History[^1].Tokens)} tokens. Every step draws its gates anew, so its curve is rough; "
            + "where a point stands for several steps, the band is from the least to the greatest.";

    public static string Settings(RunReport report)
    {
        var (plan, from) = (report.Plan, report.Plan.Provenance);
        (string Key, string? Value)[] facts =
        [
            ("Model", report.Model),
            ("Strategy", from.Strategy),
            ("Budget", from.Budget?.ToString()),
            ("Seed", from.Seed is { } seed ? FormattableString.Invariant($"{seed}") : null),
            ("Width multiple", from.WidthMultiple is { } multiple ? FormattableString.Invariant($"{multiple}") : null),
            ("Norm order", plan.NormOrder.ToString()),
            ("Calibration text", report.Settings.Calibration),
            ("Backend", report.Settings.Backend),
            ("Library", $"DispLlm {report.Settings.Library}"),
            ("Notes", from.Notes),
            .. report.Settings.Options.Select(option => (option.Key, (string?)option.Value)),
        ];
        return Table("Settings", ["Setting", "Value"], facts.Where(fact => fact.Value is not null).Select(fact => new[] { fact.Key, fact.Value! }), "settings");
    }

    private static string Folded(string summary, string content) => $"<details>\n<summary>{Markup.Text(summary)}</summary>\n{content}</details>\n";

    /// <summary>A table in a region of its own, which scrolls by itself where a screen is narrow and can be reached by keyboard.</summary>
    private static string Table(string name, string[] head, IEnumerable<string[]> rows, string look = "figures")
    {
        var table = new StringBuilder();
        table.Append($"""<div class="scroll" role="region" tabindex="0" aria-label="{Markup.Text(name)}"><table class="{look}">""");
        table.Append("<thead><tr>").AppendJoin("", head.Select(cell => $"<th scope=\"col\">{Markup.Text(cell)}</th>")).Append("</tr></thead>\n<tbody>\n");
        foreach (string[] row in rows)
        {
            table.Append($"<tr><th scope=\"row\">{Markup.Text(row[0])}</th>").AppendJoin("", row.Skip(1).Select(cell => $"<td>{Markup.Text(cell)}</td>")).Append("</tr>\n");
        }

        return table.Append("</tbody></table></div>\n").ToString();
    }

    private static string Many(int count, string what) => count == 1 ? $"1 {what}" : $"{count} {what}s";
}
