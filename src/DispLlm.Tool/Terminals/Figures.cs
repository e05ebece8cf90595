using System.Globalization;

namespace DispLlm.Tool;

/// <summary>Times in a few characters.</summary>
internal static class Durations
{
    public static string Short(TimeSpan time) => time.TotalHours >= 1
        ? string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalHours}:{time.Minutes:D2}:{time.Seconds:D2}")
        : string.Create(CultureInfo.InvariantCulture, $"{time.Minutes}:{time.Seconds:D2}");
}

/// <summary>Sizes on disk in a few characters.</summary>
internal static class Sizes
{
    public static string Short(long bytes) => bytes switch
    {
        >= 1_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:F2} GB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F2} MB"),
    };
}
