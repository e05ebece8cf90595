using TorchSharp;
using Xunit;

namespace DispLlm.Tests.Devices;

public sealed class NativeTorchTests
{
    [Fact]
    public void Matrix_multiplication_works_after_loading()
    {
        NativeTorch.EnsureLoaded();
        using var scope = torch.NewDisposeScope();
        var a = torch.tensor(new float[] { 1, 2, 3, 4 }).reshape(2, 2);
        float[] product = torch.mm(a, a).data<float>().ToArray();
        Assert.Equal([7f, 10f, 15f, 22f], product);
    }

    [Fact]
    public void The_report_names_what_was_loaded()
    {
        NativeTorch.EnsureLoaded();
        var report = Assert.IsType<NativeTorchReport>(NativeTorch.Report);
        Assert.NotEmpty(report.Reason);
        Assert.Equal(report.Outcome == NativeTorchOutcome.LoadedWithRemedy, report.RemedyApplied);
        if (report.RemedyApplied)
        {
            Assert.NotEqual(report.PackageLibrary, report.Library);
            Assert.True(File.Exists(report.PackageLibrary));
        }
    }
}
