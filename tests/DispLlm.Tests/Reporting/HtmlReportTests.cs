using System.Globalization;
using System.Text.RegularExpressions;
using System.Xml;
using System.Xml.Linq;

namespace DispLlm.Tests.Reporting;

/// <summary>The page: well-formed, self-contained, escaped, and without sections for what was not measured.</summary>
[Collection(nameof(HtmlReportTests))]
public sealed partial class HtmlReportTests
{
    private static readonly XNamespace s_html = "http://www.w3.org/1999/xhtml";
    private static readonly XNamespace s_svg = "http://www.w3.org/2000/svg";

    [Fact]
    public void The_heading_summarizes_the_report()
    {
        var report = Reports.Full();
        string share = ((1 - report.Plan.KeptFraction()) * 100).ToString("0.#", CultureInfo.InvariantCulture);
        Assert.Equal(
            $"{share} % of the block weights removed; perplexity 20.0 → 31.3; prefill 1.9 times as fast; decode 1.5 times as fast.",
            Heading(report));
        Assert.Equal($"{share} % of the block weights removed.", Heading(report with { Perplexity = null, Prefill = null, Decode = null }));
        var shape = report.Plan.Model;
        var dense = new BlockSelection(SiteMap.Create<IReadOnlyList<int>>(site => [.. Enumerable.Range(0, shape.SiteSize(site))]));
        Assert.Equal(
            "All block weights are kept.", Heading(Reports.Bare() with { Plan = new(shape, [.. report.Plan.Blocks.Select(_ => dense)]) }));
    }

    [Fact]
    public void Every_chart_has_a_title_and_a_description()
    {
        var charts = Parse(Reports.Full()).Descendants(s_svg + "svg").ToArray();
        Assert.Equal(2 + 2 + 7 + 6 + 3, charts.Length);
        Assert.All(charts, chart =>
        {
            Assert.NotEmpty(chart.Element(s_svg + "title")!.Value);
            Assert.True(chart.Element(s_svg + "desc")!.Value.Length > 20);
        });
    }

    [Fact]
    public void Every_table_has_headers_and_a_label() => Assert.All(Parse(Reports.Full()).Descendants(s_html + "table"), table =>
    {
        Assert.NotEmpty(table.Parent!.Attribute("aria-label")!.Value);
        Assert.All(table.Descendants(s_html + "tr"), row => Assert.NotNull(row.Elements(s_html + "th").First().Attribute("scope")));
        Assert.Single(table.Descendants(s_html + "tr").Select(row => row.Elements().Count()).Distinct());
    });

    [Fact]
    public void There_is_no_section_for_what_was_not_measured()
    {
        const string Quality = "Quality", Training = "Training";
        Assert.DoesNotContain(Quality, Sections(Reports.Bare()));
        Assert.DoesNotContain(Training, Sections(Reports.Bare()));
        var full = Reports.Full();
        Assert.Contains(Quality, Sections(full));
        Assert.Contains(Training, Sections(full));
        Assert.Contains(Quality, Sections(full with { Perplexity = null, Tasks = [] }));
        Assert.DoesNotContain(Quality, Sections(full with { Perplexity = null, Tasks = [], Agreement = null }));
        Assert.Equal(Sections(full), Sections(full with { Plan = full.Plan with { Provenance = PlanProvenance.Unknown } }));
    }

    [Fact]
    public void Feature_scales_are_mentioned()
    {
        var bare = Reports.Bare();
        var layout = new GateLayout(bare.Plan.Model);
        float[] scales = [.. Enumerable.Repeat(1f, layout.Count)];
        (scales[0], scales[^1]) = (0.5f, 1.25f);
        string Captions(RunReport report) => string.Join('\n', Parse(report).Descendants(s_html + "p").Select(text => text.Value));
        Assert.DoesNotContain("multiplied", Captions(bare), StringComparison.Ordinal);
        var with = bare with { Plan = bare.Plan with { Scales = new FeatureScales(layout, scales) } };
        Assert.Contains("multiplied by scales from 0.5 to 1.25", Captions(with), StringComparison.Ordinal);
    }

    [Fact]
    public void Each_measurement_has_a_tile()
    {
        var full = Reports.Full();
        int Tiles(RunReport report) => Parse(report).Descendants(s_html + "dt").Count();
        Assert.Equal(8, Tiles(full));
        Assert.All(
            new[] { full with { Perplexity = null }, full with { Tasks = [] }, full with { Agreement = null }, full with { Prefill = null },
                full with { Decode = null }, full with { WeightBytes = null } },
            report => Assert.Equal(7, Tiles(report)));
        Assert.Equal(2, Tiles(Reports.Bare()));

        // Where all groups are kept, the cache is that of the dense model.
        var plan = Reports.Bare().Plan;
        Assert.Equal(1, Tiles(Reports.Bare() with
        {
            Plan = new(plan.Model, [.. plan.Blocks.Select(block => block.With(SelectionSite.AttentionGroups, [0, 1]))]),
        }));
    }

    [Theory]
    [InlineData("<script>alert(1)</script>")]
    [InlineData("\"><img src=x onerror=alert(1)>")]
    [InlineData("a & b < c > d ' e \" f")]
    [InlineData("control \u0001 \u0000 \u001b[31m \uFFFF, half a pair \uD800")]
    [InlineData("Modell für 文字 🙂")]
    public void All_text_is_escaped(string text)
    {
        var plain = Reports.Full();
        var hostile = plain with
        {
            Model = text,
            PerplexityText = text,
            Settings = new RunSettings
            {
                Calibration = text,
                Backend = text,
                Library = text,
                Options = new Dictionary<string, string> { [text] = text }
            },
            Tasks = [new(new(text, 1, 0, 0, null, null), new(text, 1, 0, 0, null, null))],
            Plan = plain.Plan with { Family = text, Provenance = plain.Plan.Provenance with { Strategy = text, Notes = text } },
        };
        var page = Parse(hostile);
        Assert.DoesNotContain(page.Descendants(), element => element.Name.LocalName is "script" or "img");
        Assert.DoesNotContain(
            page.Descendants().Attributes(), attribute => attribute.Name.LocalName.StartsWith("on", StringComparison.Ordinal));
        if (!text.Contains("control", StringComparison.Ordinal))
        {
            Assert.True(Regex.Count(page.Root!.Value, Regex.Escape(text)) >= 9);
        }

        foreach (var chart in ReportCharts.Create(hostile))
        {
            XDocument.Parse(chart.ToSvg());
        }
    }

    [Fact]
    public void A_page_has_no_external_resources()
    {
        string html = HtmlReport.ToHtml(Reports.Full());
        var page = Parse(Reports.Full());
        Assert.DoesNotContain(
            page.Descendants(), element => element.Name.LocalName is "link" or "script" or "img" or "iframe" or "object" or "base");
        Assert.DoesNotContain(page.Descendants().Attributes(), attribute => attribute.Name.LocalName is "src" or "href");
        Assert.DoesNotContain("url(", html, StringComparison.Ordinal);
        Assert.DoesNotContain("@import", html, StringComparison.Ordinal);
    }

    [Fact]
    public void Equal_reports_give_equal_pages() => Assert.Equal(HtmlReport.ToHtml(Reports.Full()), HtmlReport.ToHtml(Reports.Full()));

    [Fact]
    public void A_page_of_a_large_model_stays_small()
    {
        // LLaMA-2 7B's shape and the paper's 10,000 steps.
        string page = HtmlReport.ToHtml(Reports.Full(32, 4096, 11008, 10_000));
        Assert.InRange(page.Length, 50_000, 1_000_000);
    }

    [Fact]
    public void Infinite_and_NaN_values_do_not_break_a_page()
    {
        var broken = new PerplexityResult(double.PositiveInfinity, double.NaN, 10, 1, 11);
        var report = Reports.Full() with
        {
            Perplexity = new(broken with { Perplexity = 20 }, broken),
            History = [.. Reports.Full().History.Select(step => step with { CrossEntropy = double.NaN })],
        };
        Assert.Contains("∞", Heading(report), StringComparison.Ordinal);
        Assert.DoesNotContain(Parse(report).Descendants().Attributes(),
            attribute => attribute.Name.LocalName is "d" or "width" && NoNumber().IsMatch(attribute.Value));
    }

    [Fact]
    public void Colours_have_enough_contrast_in_light_and_dark()
    {
        var schemes = Scheme().Matches(HtmlReport.ToHtml(Reports.Bare())).Select(match => Colour().Matches(match.Value)
            .ToDictionary(colour => colour.Groups[1].Value, colour => Luminance(colour.Groups[2].Value))).ToArray();
        Assert.Equal(2, schemes.Length);
        Assert.All(schemes, colours =>
        {
            foreach (string ground in new[] { "paper", "soft" })
            {
                Assert.All(new[] { "ink", "muted" }, text => Assert.True(
                    Contrast(colours[text], colours[ground]) >= 4.5, $"{text} on {ground}"));
                Assert.All(new[] { "before", "after" }, bar => Assert.True(
                    Contrast(colours[bar], colours[ground]) >= 3, $"{bar} on {ground}"));
            }
        });
        Assert.NotEqual(schemes[0], schemes[1]);
    }

    [Fact]
    public void A_page_is_saved_without_temporary_files()
    {
        using var folder = new TemporaryFolder();
        HtmlReport.Save(Reports.Full(), folder.Below("report.html"));
        Assert.Equal(HtmlReport.ToHtml(Reports.Full()), File.ReadAllText(folder.Below("report.html")));
        Assert.Single(Directory.GetFiles(folder.Path));
    }

    private static XDocument Parse(RunReport report)
    {
        using var reader = XmlReader.Create(
            new StringReader(HtmlReport.ToHtml(report)), new XmlReaderSettings { DtdProcessing = DtdProcessing.Ignore });
        return XDocument.Load(reader);
    }

    private static string Heading(RunReport report) => Parse(report).Descendants(s_html + "h1").Single().Value.Replace('\u00A0', ' ');

    private static string[] Sections(RunReport report) => [.. Parse(report).Descendants(s_html + "h2").Select(heading => heading.Value)];

    private static double Luminance(string hex)
    {
        double Channel(int at)
        {
            double value = Convert.ToInt32(hex[at..(at + 2)], 16) / 255.0;
            return value <= 0.04045 ? value / 12.92 : Math.Pow((value + 0.055) / 1.055, 2.4);
        }

        return 0.2126 * Channel(0) + 0.7152 * Channel(2) + 0.0722 * Channel(4);
    }

    private static double Contrast(double first, double second) => (Math.Max(first, second) + 0.05) / (Math.Min(first, second) + 0.05);

    [GeneratedRegex("NaN|∞|Infinity")]
    private static partial Regex NoNumber();

    [GeneratedRegex(@":root\{[^}]*\}")]
    private static partial Regex Scheme();

    [GeneratedRegex("--(\\w+):#([0-9a-f]{6})")]
    private static partial Regex Colour();
}
