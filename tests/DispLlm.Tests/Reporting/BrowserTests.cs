using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace DispLlm.Tests.Reporting;

/// <summary>The page in a browser, at the width of a phone and of a desktop. Skipped without Chromium.</summary>
public sealed partial class BrowserTests
{
    private static readonly int[] s_widths = [360, 1440];

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_page_fits_phone_and_desktop(bool everything)
    {
        using var folder = new TemporaryFolder();
        HtmlReport.Save(everything ? Reports.Full(30, 576, 1536, 300) with { Model = new string('m', 150) } : Reports.Bare(),
            folder.Below("report.html"));
        var (overflows, messages) = await InspectAsync(folder, TestContext.Current.CancellationToken);
        Assert.Equal([0, 0], overflows);
        Assert.Empty(messages);
    }

    [Fact]
    public async Task Overflow_and_script_errors_are_detected()
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(
            folder.Below("report.html"), """<!DOCTYPE html><div style="width:1000px">wide</div><script>nothing()</script>""",
            TestContext.Current.CancellationToken);
        var (overflows, messages) = await InspectAsync(folder, TestContext.Current.CancellationToken);
        Assert.True(overflows[0] > 600 && overflows[1] == 0, string.Join(' ', overflows));
        Assert.Contains(messages, message => message.Contains("nothing is not defined", StringComparison.Ordinal));
    }

    /// <summary>The horizontal overflow of the page at each width, and the messages of the console.</summary>
    private static async Task<(int[] Overflows, string[] Messages)> InspectAsync(TemporaryFolder folder, CancellationToken cancellation)
    {
        string frames = string.Concat(
            s_widths.Select(width => $"""<iframe src="report.html" style="width:{width}px;height:800px;border:0"></iframe>"""));
        await File.WriteAllTextAsync(folder.Below("look.html"), $$"""
            <!DOCTYPE html><body>{{frames}}<script>
            addEventListener("load", () => {
              for (const frame of document.querySelectorAll("iframe")) {
                const page = frame.contentDocument.documentElement;
                frame.dataset.overflow = page.scrollWidth - page.clientWidth;
              }
            });
            </script></body>
            """, cancellation);
        using var browser = Process.Start(new ProcessStartInfo(Chromium(), [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync", "--allow-file-access-from-files", "--enable-logging=stderr",
            $"--user-data-dir={folder.Below("profile")}", "--dump-dom",
            new Uri(folder.Below("look.html")).AbsoluteUri,
        ])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        try
        {
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            patience.CancelAfter(TimeSpan.FromMinutes(2));
            var log = browser.StandardError.ReadToEndAsync(patience.Token);
            string page = await browser.StandardOutput.ReadToEndAsync(patience.Token);
            await browser.WaitForExitAsync(patience.Token);
            int[] overflows = [.. Overflow().Matches(page).Select(match => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture))];
            return (overflows, [.. (await log).Split('\n').Where(line => line.Contains("CONSOLE", StringComparison.Ordinal))]);
        }
        finally
        {
            if (!browser.HasExited)
            {
                browser.Kill(entireProcessTree: true);
            }
        }
    }

    private static string Chromium()
    {
        var places = from folder in (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(Path.PathSeparator)
                     from name in new[] { "chromium", "chromium-browser", "google-chrome" }
                     select Path.Combine(folder, name);
        string? found = places.FirstOrDefault(File.Exists);
        Assert.SkipWhen(found is null, "There is no Chromium on the PATH to look at the page with.");
        return found!;
    }

    [GeneratedRegex("data-overflow=\"(-?[0-9]+)\"")]
    private static partial Regex Overflow();
}
