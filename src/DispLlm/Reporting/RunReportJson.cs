using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace DispLlm.Reporting;

/// <summary>
/// Reads and writes the report file. Its plan is written as in a plan file, and its steps as in the log of a run. What can be computed from
/// the plan (widths, overlaps) is written for other programs, and ignored when a report is read.
/// </summary>
internal static class RunReportJson
{
    private static readonly JsonSerializerOptions s_headerOptions = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public static string Write(RunReport report) =>
        JsonSerializer.Serialize(report, CreateOptions(new GateLayout(report.Plan.Model))).ReplaceLineEndings("\n") + "\n";

    /// <exception cref="ReportException">The bytes are not a valid report; the message names file, key and value.</exception>
    public static RunReport Read(ReadOnlyMemory<byte> utf8, string file)
    {
        try
        {
            // The plan first: the steps refer to its shape.
            var header = StrictJsonFile.Parse<Header>(utf8.Span, 1, RunReport.CurrentFormatVersion, s_headerOptions);
            string plan = header.Plan?.GetRawText() ?? throw new FormatException("the key 'plan' is missing.");
            var options = CreateOptions(new GateLayout(SelectionPlan.FromJson(plan).Model));
            var report = StrictJsonFile.Parse<RunReport>(utf8.Span, 1, RunReport.CurrentFormatVersion, options);
            EnsureComplete(report);
            return report;
        }
        catch (Exception e) when (e is FormatException or SelectionException)
        {
            throw new ReportException(file, $"not a valid report: {e.Message}", e);
        }
    }

    private static JsonSerializerOptions CreateOptions(GateLayout layout) => new(JsonSerializerOptions.Strict)
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,

        // The perplexity of a model that was pruned too much is infinite.
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,

        // The file is not embedded in HTML, and apostrophes stay readable.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { MakeNullablesOptional, SelectionSites.AddSiteKeys } },
        Converters =
        {
            new PlanJson(),
            new StepJson(layout),
            new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false),
        },
    };

    private static void MakeNullablesOptional(JsonTypeInfo type)
    {
        foreach (var property in type.Properties.Where(property => Nullable.GetUnderlyingType(property.PropertyType) is not null))
        {
            property.IsRequired = false;
        }
    }

    // System.Text.Json does not check null for list elements and type parameters.
    private static void EnsureComplete(RunReport report)
    {
        (string Key, bool IsNull)[] checks =
        [
            ("tasks", report.Tasks.Any(task => task is not { Before: not null, After: not null })),
            ("perplexity", report.Perplexity is not (null or { Before: not null, After: not null })),
            ("history", report.History.Any(step => step is null)),
        ];
        if (checks.FirstOrDefault(check => check.IsNull).Key is { } key)
        {
            throw new FormatException($"'{key}' contains null.");
        }
    }

    private sealed record Header(JsonElement? Plan = null);

    private sealed class PlanJson : JsonConverter<SelectionPlan>
    {
        public override SelectionPlan Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            using var json = JsonDocument.ParseValue(ref reader);
            return SelectionPlan.FromJson(json.RootElement.GetRawText());
        }

        public override void Write(Utf8JsonWriter writer, SelectionPlan value, JsonSerializerOptions options) =>
            writer.WriteRawValue(value.ToJson().TrimEnd());
    }

    private sealed class StepJson(GateLayout layout) : JsonConverter<PruningProgress>
    {
        public override PruningProgress Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            using var json = JsonDocument.ParseValue(ref reader);
            string line = json.RootElement.GetRawText();
            return StepLog.Parse(Encoding.UTF8.GetBytes(line), layout) ?? throw new JsonException($"'{line}' is no learning step.");
        }

        public override void Write(Utf8JsonWriter writer, PruningProgress value, JsonSerializerOptions options) =>
            writer.WriteRawValue(StepLog.Line(value));
    }
}
