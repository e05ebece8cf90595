using System.Security.Cryptography;
using CsCheck;
using Xunit;

namespace DispLlm.Tests.Kernels;

public sealed class ElfVersionNeedsTests
{
    private const string Harmless = "_ZSt21ios_base_library_initv";

    [Fact]
    public void Needs_are_read_with_library_name_and_symbols()
    {
        var elf = ElfVersionNeeds.Read(SyntheticElf.Build((NativeRemedy.Version, Harmless), ("GLIBCXX_3.4.9", "_ZSo9_M_insert")));
        Assert.Equal([NativeRemedy.Version, "GLIBCXX_3.4.9"], elf.Needs.Select(need => need.Version));
        Assert.All(elf.Needs, need => Assert.Equal("libstdc++.so.6", need.Library));
        Assert.All(elf.Needs, need => Assert.False(need.IsWeak));
        Assert.Equal([Harmless], elf.GetSymbols(elf.Needs[0]));
        Assert.Equal(["_ZSo9_M_insert"], elf.GetSymbols(elf.Needs[1]));
    }

    [Fact]
    public void The_remedy_changes_one_flag_of_a_copy()
    {
        byte[] original = SyntheticElf.Build(("GLIBCXX_3.4.9", "_ZSo9_M_insert"), (NativeRemedy.Version, Harmless));
        byte[] before = [.. original];
        byte[] remedied = NativeRemedy.Apply(original);
        Assert.Equal(before, original);
        int changed = Assert.Single(Enumerable.Range(0, original.Length), i => original[i] != remedied[i]);
        Assert.Equal(original[changed] | 2, remedied[changed]);
        Assert.Equal([false, true], ElfVersionNeeds.Read(remedied).Needs.Select(need => need.IsWeak));
    }

    [Fact]
    public void A_library_that_really_uses_the_version_is_refused()
    {
        byte[] image = SyntheticElf.Build((NativeRemedy.Version, Harmless), (NativeRemedy.Version, "_ZNSt6thread4joinEv"));
        var error = Assert.Throws<InvalidDataException>(() => NativeRemedy.Apply(image));
        Assert.Contains("_ZNSt6thread4joinEv", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_library_without_the_version_is_refused() => Assert.Contains(
        NativeRemedy.Version,
        Assert.Throws<InvalidDataException>(() => NativeRemedy.Apply(SyntheticElf.Build(("GLIBCXX_3.4.9", "f")))).Message,
        StringComparison.Ordinal);

    [Fact]
    public void Other_files_are_refused()
    {
        Assert.Throws<InvalidDataException>(() => ElfVersionNeeds.Read([]));
        Assert.Throws<InvalidDataException>(() => ElfVersionNeeds.Read(new byte[200]));
        byte[] bigEndian = SyntheticElf.Build((NativeRemedy.Version, Harmless));
        bigEndian[5] = 2;
        Assert.Throws<InvalidDataException>(() => ElfVersionNeeds.Read(bigEndian));
    }

    [Fact]
    public void Every_truncated_file_is_rejected_or_read()
    {
        byte[] image = SyntheticElf.Build((NativeRemedy.Version, Harmless), ("GLIBCXX_3.4.9", "f"));
        for (int length = 0; length < image.Length; length++)
        {
            Assert.Null(Unexpected(image[..length]));
        }
    }

    [Fact]
    public void Damaged_files_are_refused_or_read_but_never_read_outside()
    {
        byte[] image = SyntheticElf.Build((NativeRemedy.Version, Harmless), ("GLIBCXX_3.4.9", "f"));
        var damage = Gen.Select(Gen.Int[0, image.Length - 1], Gen.Byte).List[1, 8];
        damage.Sample(
            changes =>
            {
                byte[] copy = [.. image];
                foreach (var (at, value) in changes)
                {
                    copy[at] = value;
                }

                return Unexpected(copy) is null;
            },
            iter: 5000,
            threads: 1);
    }

    [Fact]
    public void The_packages_own_library_is_understood_and_left_alone()
    {
        string? library = NativeFiles.ForProcess(typeof(TorchSharp.torch).Assembly.Location).Find("libLibTorchSharp.so");
        Assert.SkipWhen(library is null, "There is no Linux library of TorchSharp here.");
        byte[] hash = SHA256.HashData(File.ReadAllBytes(library));
        byte[] image = File.ReadAllBytes(library);
        var need = Assert.Single(ElfVersionNeeds.Read(image).Needs, n => n.Version == NativeRemedy.Version);
        Assert.False(need.IsWeak);
        byte[] remedied = NativeRemedy.Apply(image);
        Assert.True(Assert.Single(ElfVersionNeeds.Read(remedied).Needs, n => n.Version == NativeRemedy.Version).IsWeak);
        Assert.Equal(1, image.Zip(remedied).Count(pair => pair.First != pair.Second));
        Assert.Equal(hash, SHA256.HashData(File.ReadAllBytes(library)));
    }

    private static Exception? Unexpected(byte[] image)
    {
        try
        {
            var elf = ElfVersionNeeds.Read(image);
            foreach (var need in elf.Needs)
            {
                elf.GetSymbols(need);
                elf.WithWeak(need);
            }

            return null;
        }
        catch (InvalidDataException)
        {
            return null;
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return e;
        }
    }
}
