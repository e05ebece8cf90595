using System.Globalization;
using System.Xml.Linq;
using SkiaSharp;

namespace DispLlm.Tests.Reporting;

/// <summary>Pictures as files.</summary>
public sealed class ReportChartTests
{
    private static readonly XNamespace s_svg = "http://www.w3.org/2000/svg";

    [Fact]
    public void There_is_a_picture_for_what_was_measured()
    {
        Assert.Equal(["quality", "cost", "widths", "kept", "learning"], ReportCharts.Create(Reports.Full()).Select(picture => picture.Name));
        Assert.Equal(["cost", "widths", "kept"], ReportCharts.Create(Reports.Bare()).Select(picture => picture.Name));
        Assert.Null(ReportCharts.Quality(Reports.Bare()));
        Assert.Null(ReportCharts.Learning(Reports.Bare()));
    }

    [Fact]
    public void A_picture_file_brings_its_colours_along() => Assert.All(ReportCharts.Create(Reports.Full()), picture =>
    {
        var svg = XDocument.Parse(picture.ToSvg()).Root!;
        Assert.DoesNotContain("var(", picture.ToSvg(), StringComparison.Ordinal);
        string[] looks = [.. svg.Descendants().Attributes("class").Select(look => look.Value).Distinct()];
        Assert.All(looks, look => Assert.Contains($".{look}{{", svg.Element(s_svg + "style")!.Value, StringComparison.Ordinal));
        Assert.NotEmpty(svg.Element(s_svg + "title")!.Value);
    });

    [Fact]
    public void Nothing_is_drawn_outside_of_a_picture() => Assert.All(ReportCharts.Create(Reports.Full(70, 40, 300, 1)).Concat(ReportCharts.Create(Reports.Full(1, 4, 3, 700))), picture =>
    {
        var svg = XDocument.Parse(picture.ToSvg(columns: 1)).Root!;
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
    [InlineData(9, 2212)]
    public void Diagrams_stand_in_as_many_columns_as_asked(int columns, int width) =>
        Assert.Equal(width, Number(XDocument.Parse(ReportCharts.Widths(Reports.Bare()).ToSvg(columns)).Root!, "width"));

    [Fact]
    public void A_map_shows_each_feature_that_stays()
    {
        // At most 128 features: a cell is a feature, so that the cells of full colour are as many as the plan keeps.
        var plan = Reports.Bare(blocks: 3, hidden: 20, mlp: 30).Plan;
        string kept = ReportCharts.Kept(Reports.Bare(blocks: 3, hidden: 20, mlp: 30)).ToSvg();
        var cells = XDocument.Parse(kept).Descendants(s_svg + "path").Where(path => path.Attribute("fill-opacity") is not null).ToArray();
        Assert.All(cells, path => Assert.Equal("1", path.Attribute("fill-opacity")!.Value));
        int drawn = cells.SelectMany(path => path.Attribute("d")!.Value.Split('h').Skip(1).Where((_, i) => i % 2 == 0))
            .Sum(run => int.Parse(run[..run.IndexOf('v', StringComparison.Ordinal)], CultureInfo.InvariantCulture));
        Assert.Equal(plan.Blocks.Sum(block => Enum.GetValues<SelectionSite>().Sum(site => block[site].Count)), drawn);
    }

    [Fact]
    public void Pictures_are_saved_as_svg_and_png()
    {
        using var folder = new TemporaryFolder();
        var picture = ReportCharts.Widths(Reports.Full());
        picture.SaveSvg(folder.Below("widths.svg"), columns: 2);
        Assert.Equal(picture.ToSvg(columns: 2), File.ReadAllText(folder.Below("widths.svg")));
        picture.SavePng(folder.Below("widths.png"), scale: 1.5, columns: 2);
        using var png = SKBitmap.Decode(folder.Below("widths.png"));
        Assert.Equal(1110, png.Width);
        Assert.Throws<ArgumentOutOfRangeException>(() => picture.ToPng(scale: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => picture.ToPng(columns: 0));
    }

    [Fact]
    public void A_png_has_its_colours_and_its_text()
    {
        using var png = SKBitmap.Decode(ReportCharts.Widths(Reports.Full()).ToPng(scale: 1, columns: 1));
        Assert.Equal(SKColors.White, png.GetPixel(2, 2));
        int Count(SKRectI area, Func<SKColor, bool> which) => (from y in Enumerable.Range(area.Top, area.Height)
                                                              from x in Enumerable.Range(area.Left, area.Width)
                                                              select png.GetPixel(x, y)).Count(which);
        Assert.True(Count(new SKRectI(54, 60, 350, 146), colour => colour == new SKColor(0x12, 0x6a, 0x86)) > 1000, "The bars are not there.");
        Assert.SkipWhen(OperatingSystem.IsLinux() && !Directory.Exists("/usr/share/fonts"), "This system has no fonts to set text in.");
        Assert.True(Count(new SKRectI(16, 16, 120, 32), colour => colour.Red < 120) > 50, "The heading is not there.");
    }

    private static double Number(XElement element, string name) => double.Parse(element.Attribute(name)?.Value ?? "0", CultureInfo.InvariantCulture);
}
