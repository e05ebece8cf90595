using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace DispLlm.Reporting;

/// <summary>
/// The report file. A plan stands in it as a plan file does, and a step as a line of a run's log: whoever reads one reads the other. What follows from the
/// plan (widths, neighbours) is written for other programs, and computed again when a report is read.
/// </summary>
internal static class RunReportJson
{
    public static string Write(RunReport report) =>
        JsonSerializer.Serialize(report, Options(new StepJson(new GateLayout(report.Plan.Model)))).ReplaceLineEndings("\n") + "\n";

    public static RunReport Read(ReadOnlyMemory<byte> utf8, string file)
    {
        try
        {
            using var json = JsonDocument.Parse(utf8.Span.StartsWith("\uFEFF"u8) ? utf8[3..] : utf8);
            EnsureVersion(json.RootElement, file);
            if (!json.RootElement.TryGetProperty("plan", out var plan))
            {
                throw new ReportException(file, "the report lacks the key 'plan'.");
            }

            // A step names the sites that collapsed in it, and only the plan knows how large they are.
            var layout = new GateLayout(SelectionPlan.FromJson(plan.GetRawText()).Model);
            return json.Deserialize<RunReport>(Options(new StepJson(layout)))!;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or SelectionException)
        {
            throw new ReportException(file, $"no valid report: {e.Message}", e);
        }
    }

    // Before anything else: a later version may have other keys, and "unknown key" would send its reader the wrong way.
    private static void EnsureVersion(JsonElement root, string file)
    {
        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("format_version", out var version))
        {
            throw new ReportException(file, "the report lacks the key 'format_version'.");
        }

        if (version.GetRawText() is var number && number != $"{RunReport.CurrentFormatVersion}")
        {
            throw new ReportException(file, $"format_version is {number}; this program reads version {RunReport.CurrentFormatVersion}.");
        }
    }

    private static JsonSerializerOptions Options(StepJson steps) => new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        AllowDuplicateProperties = false,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,

        // A model that was cut too far has a perplexity of infinity, and that is what its report says.
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,

        // The file is not part of a web page, and a name with an apostrophe should read like one.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { LetUnmeasuredBeAbsent, SelectionSites.AddSiteKeys } },
        Converters = { new PlanJson(), steps, new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false) },
    };

    private static void LetUnmeasuredBeAbsent(JsonTypeInfo type)
    {
        foreach (var property in type.Properties.Where(property => Nullable.GetUnderlyingType(property.PropertyType) is not null))
        {
            property.IsRequired = false;
        }
    }

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
            return StepLog.Parse(System.Text.Encoding.UTF8.GetBytes(line), layout) ?? throw new JsonException($"'{line}' is no learning step.");
        }

        public override void Write(Utf8JsonWriter writer, PruningProgress value, JsonSerializerOptions options) =>
            writer.WriteRawValue(StepLog.Line(value));
    }
}
