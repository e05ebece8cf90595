using System.Text.RegularExpressions;

namespace DispLlm.Tests.Architecture;

/// <summary>Folders stand in the order in which data flows; a folder may use those above it, never those below.</summary>
public sealed partial class FolderTests
{
    internal static readonly string[] Folders =
    [
        "Devices", "Checkpoints", "Families", "Selection", "Modeling", "Text", "Evaluation", "Strategies", "Training",
        "Pruning", "Reporting",
    ];

    [Fact]
    public void Every_source_folder_has_its_place_in_the_order()
    {
        string[] folders =
            [.. Directory.GetDirectories(Source()).Select(folder => Path.GetFileName(folder)!).Where(name => name is not ("bin" or "obj"))];
        Assert.Equal(Folders.Order(), folders.Order());
    }

    [Fact]
    public void No_folder_uses_a_folder_below_it()
    {
        var files = Folders.SelectMany(
            (folder, order) => Directory.GetFiles(Path.Combine(Source(), folder), "*.cs", SearchOption.AllDirectories)
            .Select(file => (Name: folder + "/" + Path.GetFileName(file), Order: order, Code: Strip(File.ReadAllText(file))))).ToArray();
        var home = files.SelectMany(file => Declaration().Matches(file.Code).Select(match => (Type: match.Groups[1].Value, file.Order)))
            .DistinctBy(entry => entry.Type).ToDictionary(entry => entry.Type, entry => entry.Order);
        Assert.True(home.Count > 50, $"Only {home.Count} types found: is the pattern still right?");

        var offences = from file in files
                       from word in Word().Matches(file.Code).Select(match => match.Value).Distinct()
                       where home.TryGetValue(word, out int order) && order > file.Order
                       select $"{file.Name} uses {word} of {Folders[home[word]]}";
        Assert.Empty(offences);
    }

    [Fact]
    public void Only_devices_name_a_device()
    {
        var offences = from folder in Folders.Where(folder => folder != "Devices")
                       from file in Directory.GetFiles(Path.Combine(Source(), folder), "*.cs", SearchOption.AllDirectories)
                       from Match match in DeviceName().Matches(Strip(File.ReadAllText(file)))
                       select $"{Path.GetFileName(file)}: {match.Value}";
        Assert.Empty(offences);
    }

    [Fact]
    public void Only_families_name_a_family()
    {
        string names = string.Join('|', ModelFamilies.BuiltIn.All.SelectMany(family => family.ModelTypes.Append(family.Name)).Distinct());
        string types = string.Join('|', typeof(IModelFamily).Assembly.GetTypes()
            .Where(type => type.IsClass && typeof(IModelFamily).IsAssignableFrom(type)).Select(type => type.Name));
        var offences = from folder in Folders.Where(folder => folder != "Families")
                       from file in Directory.GetFiles(Path.Combine(Source(), folder), "*.cs", SearchOption.AllDirectories)
                       from Match match in Regex.Matches(StripComments(File.ReadAllText(file)), $"\\b({types})\\b|\"({names})\"")
                       select $"{Path.GetFileName(file)}: {match.Value}";
        Assert.Empty(offences);
    }

    [Fact]
    public void The_library_writes_nothing_to_the_console() =>
        Assert.DoesNotContain(
            Directory.GetFiles(Source(), "*.cs", SearchOption.AllDirectories),
            file => File.ReadAllText(file).Contains("Console.", StringComparison.Ordinal));

    private static string Source() => Path.Combine(Repository.Root, "src/DispLlm");

    private static string StripComments(string code) => Regex.Replace(code, @"//[^\n]*", string.Empty);

    private static string Strip(string code) => Regex.Replace(StripComments(code), "\"(\\\\.|[^\"\\\\])*\"", "\"\"");

    // At the start of a line only: a nested type is named after the type around it, and that one is found.
    [GeneratedRegex(
        @"^(?:[a-z]+ )*(?:class|struct|interface|enum|record|delegate \w+)\s+(?:struct\s+|class\s+)?([A-Z]\w+)", RegexOptions.Multiline)]
    private static partial Regex Declaration();

    [GeneratedRegex(@"(?<![.\w])[A-Z]\w+")]
    private static partial Regex Word();

    // The CPU is where bytes arrive from disk and numbers go back to .NET; any other device is the backend's business.
    [GeneratedRegex(@"\bCUDA\b|\bMETA\b|\bcuda\b|DeviceType\.(?!CPU)\w+|torch\.device\(|new Device\(")]
    private static partial Regex DeviceName();
}
