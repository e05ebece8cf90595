using System.Globalization;
using System.Xml.Linq;
using SkiaSharp;

namespace DispLlm.Tests.Reporting;

/// <summary>Charts as files.</summary>
public sealed class ReportChartTests
{
    private static readonly XNamespace s_svg = "http://www.w3.org/2000/svg";

    [Fact]
    public void There_is_a_chart_for_what_was_measured()
    {
        Assert.Equal(["quality", "cost", "widths", "kept", "learning"], ReportCharts.Create(Reports.Full()).Select(chart => chart.Name));
        Assert.Equal(["cost", "widths", "kept"], ReportCharts.Create(Reports.Bare()).Select(chart => chart.Name));
        Assert.Null(ReportCharts.CreateQuality(Reports.Bare()));
        Assert.Null(ReportCharts.CreateTraining(Reports.Bare()));
    }

    [Fact]
    public void An_SVG_file_has_literal_colours() => Assert.All(ReportCharts.Create(Reports.Full()), chart =>
    {
        var svg = XDocument.Parse(chart.ToSvg()).Root!;
        Assert.DoesNotContain("var(", chart.ToSvg(), StringComparison.Ordinal);
        string[] looks = [.. svg.Descendants().Attributes("class").Select(look => look.Value).Distinct()];
        Assert.All(looks, look => Assert.Contains($".{look}{{", svg.Element(s_svg + "style")!.Value, StringComparison.Ordinal));
        Assert.NotEmpty(svg.Element(s_svg + "title")!.Value);
    });

    [Fact]
    public void Nothing_is_drawn_outside_of_the_chart() =>
        Assert.All(ReportCharts.Create(Reports.Full(70, 40, 300, 1)).Concat(ReportCharts.Create(Reports.Full(1, 4, 3, 700))), chart =>
    {
        var svg = XDocument.Parse(chart.ToSvg(new ChartOptions { Columns = 1 })).Root!;
        double width = Number(svg, "width");
        Assert.All(svg.Descendants(s_svg + "rect"), rectangle =>
        {
            Assert.InRange(Number(rectangle, "x"), 0, width);
            Assert.InRange(Number(rectangle, "width"), 0, width);
            Assert.True(Number(rectangle, "height") >= 0);
        });
    });

    [Theory]
    [InlineData(1, 372)]
    [InlineData(2, 740)]
    [InlineData(3, 1108)]
    [InlineData(9, 2580)]
    public void Panels_are_laid_out_in_the_given_columns(int columns, int width) =>
        Assert.Equal(width, Number(
            XDocument.Parse(ReportCharts.CreateWidths(Reports.Bare()).ToSvg(new ChartOptions { Columns = columns })).Root!, "width"));

    [Fact]
    public void The_map_shows_each_kept_feature()
    {
        // With at most 128 features a cell is a feature, so that the drawn cells are the kept features.
        var plan = Reports.Bare(blocks: 3, hidden: 20, mlp: 30).Plan;
        string kept = ReportCharts.CreateKept(Reports.Bare(blocks: 3, hidden: 20, mlp: 30)).ToSvg();
        var cells = XDocument.Parse(kept).Descendants(s_svg + "path").Where(path => path.Attribute("fill-opacity") is not null).ToArray();
        Assert.All(cells, path => Assert.Equal("1", path.Attribute("fill-opacity")!.Value));
        int drawn = cells.SelectMany(path => path.Attribute("d")!.Value.Split('h').Skip(1).Where((_, i) => i % 2 == 0))
            .Sum(run => int.Parse(run[..run.IndexOf('v', StringComparison.Ordinal)], CultureInfo.InvariantCulture));
        Assert.Equal(plan.Blocks.Sum(block => Enum.GetValues<SelectionSite>().Sum(site => block[site].Count)), drawn);
    }

    [Fact]
    public void Charts_are_saved_as_svg_and_png()
    {
        using var folder = new TemporaryFolder();
        var chart = ReportCharts.CreateWidths(Reports.Full());
        chart.SaveSvg(folder.Below("widths.svg"), new ChartOptions { Columns = 2 });
        Assert.Equal(chart.ToSvg(new ChartOptions { Columns = 2 }), File.ReadAllText(folder.Below("widths.svg")));
        chart.SavePng(folder.Below("widths.png"), new ChartOptions { Scale = 1.5, Columns = 2 });
        using var png = SKBitmap.Decode(folder.Below("widths.png"));
        Assert.Equal(1110, png.Width);
        Assert.Throws<ArgumentOutOfRangeException>(() => chart.ToPng(new ChartOptions { Scale = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => chart.ToPng(new ChartOptions { Columns = 0 }));
    }

    [Fact]
    public void A_png_has_colours_and_text()
    {
        using var png = SKBitmap.Decode(ReportCharts.CreateWidths(Reports.Full()).ToPng(new ChartOptions { Scale = 1, Columns = 1 }));
        Assert.Equal(SKColors.White, png.GetPixel(2, 2));
        int Count(SKRectI area, Func<SKColor, bool> which) => (from y in Enumerable.Range(area.Top, area.Height)
                                                               from x in Enumerable.Range(area.Left, area.Width)
                                                               select png.GetPixel(x, y)).Count(which);
        Assert.True(
            Count(new SKRectI(54, 60, 350, 146), colour => colour == new SKColor(0x12, 0x6a, 0x86)) > 1000, "The bars are not there.");
        Assert.SkipWhen(OperatingSystem.IsLinux() && !Directory.Exists("/usr/share/fonts"), "This system has no fonts to set text in.");
        Assert.True(Count(new SKRectI(16, 16, 120, 32), colour => colour.Red < 120) > 50, "The heading is not there.");
    }

    private static double Number(XElement element, string name) =>
        double.Parse(element.Attribute(name)?.Value ?? "0", CultureInfo.InvariantCulture);
}
