namespace DispLlm.Tests.Conformance;

/// <summary>No family without its proof.</summary>
public sealed class ConformanceCoverageTests
{
    [Fact]
    public void Every_registered_family_inherits_the_suite()
    {
        var proven = from type in typeof(ConformanceCoverageTests).Assembly.GetTypes()
                     where !type.IsAbstract && type.BaseType is { IsGenericType: true } parent
                         && parent.GetGenericTypeDefinition() == typeof(FamilyConformance<>)
                     select ((IModelFamily)type.GetProperty(nameof(IFamilyUnderTest.Family))!.GetValue(null)!).Name;
        Assert.Empty(ModelFamilies.BuiltIn.All.Select(family => family.Name).Except(proven));
    }

    [Fact]
    public void Every_fixture_of_a_model_is_used_by_some_family()
    {
        string[] fixtures = [.. Directory.GetDirectories(Path.Combine(AppContext.BaseDirectory, "Fixtures"))
            .Where(folder => File.Exists(Path.Combine(folder, "expected.json")) && File.Exists(Path.Combine(folder, "config.json")))
            .Select(folder => Path.GetFileName(folder)!)];
        var used = from type in typeof(ConformanceCoverageTests).Assembly.GetTypes()
                   where typeof(IFamilyUnderTest).IsAssignableFrom(type) && !type.IsInterface && !type.IsAbstract
                   let data = (IEnumerable<ITheoryDataRow>)type.BaseType!.GetProperty("Fixtures")!.GetValue(null)!
                   from row in data
                   select (string)row.GetData()[0]!;
        Assert.NotEmpty(fixtures);
        Assert.Empty(fixtures.Except(used));
    }
}
