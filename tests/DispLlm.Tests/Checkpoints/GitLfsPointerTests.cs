using Xunit;

namespace DispLlm.Tests.Checkpoints;

/// <summary>What Git leaves in place of a large file is named for what it is, whichever file it replaces.</summary>
[Collection(nameof(GitLfsPointerTests))]
public sealed class GitLfsPointerTests : IDisposable
{
    private const string Pointer = "version https://git-lfs.github.com/spec/v1\n"
        + "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("config.json")]
    [InlineData("model.safetensors")]
    [InlineData("model.safetensors.index.json")]
    [InlineData("pytorch_model.bin")]
    [InlineData("pytorch_model.bin.index.json")]
    [InlineData("1.safetensors", "model.safetensors.index.json")]
    [InlineData("1.bin", "pytorch_model.bin.index.json")]
    public void A_pointer_is_named_with_the_remedy(string file, string? index = null)
    {
        _folder.Write("config.json", "{}");
        if (index is not null)
        {
            _folder.Write(index, $$"""{"weight_map": {"w": "{{file}}"} }""");
        }

        _folder.Write(file, Pointer);
        var error = Assert.Throws<CheckpointException>(() =>
        {
            using var folder = CheckpointFolder.Open(_folder.FullPath);
            folder.Info("w");
        });
        Assert.Equal(_folder[file], error.File);
        Assert.Contains("Git LFS", error.Message, StringComparison.Ordinal);
        Assert.Contains("git lfs pull", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_plan_that_is_a_pointer_is_named_with_the_remedy()
    {
        string path = _folder.Write(SelectionPlan.FileName, Pointer);
        string message = Assert.ThrowsAny<DispLlmException>(() => SelectionPlan.Load(path)).Message;
        Assert.Contains(path, message, StringComparison.Ordinal);
        Assert.Contains("git lfs pull", message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_folder_of_the_report_is_named()
    {
        string folder = SharedData.Path("failing/13-lfs-pointer");
        Assert.Contains(
            "git lfs pull", Assert.Throws<CheckpointException>(() => PrunableModel.Load(folder)).Message, StringComparison.Ordinal);
    }
}
