using AddYourOwnFamily;

namespace DispLlm.Tests.Conformance;

/// <summary>A family that the library does not know, defined in a sample, holds what the library's own families hold.</summary>
public sealed class SeedOssConformanceTests : FamilyConformance<SeedOssConformanceTests>, IFamilyUnderTest
{
    public static IModelFamily Family { get; } = new SeedOssFamily();

    static IReadOnlyList<string> IFamilyUnderTest.Fixtures { get; } = ["seed-oss"];

    public static IReadOnlyList<PublishedModel> Published { get; } =
        [new("Seed-OSS 36B", Family.Example.ToJson().ToJsonString(), 36_151_104_512)];
}
