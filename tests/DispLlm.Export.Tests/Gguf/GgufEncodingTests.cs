using System.Runtime.InteropServices;
using System.Text.Json;
using DispLlm.Export;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests;

/// <summary>Encoded numbers are the bytes that llama.cpp writes for them.</summary>
public sealed class GgufEncodingTests
{
    [Theory]
    [InlineData(GgufType.F16)]
    [InlineData(GgufType.BF16)]
    [InlineData(GgufType.Q8_0)]
    [InlineData(GgufType.Q4_0)]
    public void Bytes_are_those_of_llama_cpp(GgufType type)
    {
        using var scope = NewDisposeScope();
        using var facts = JsonDocument.Parse(File.ReadAllText(SharedData.Path("deploy", "gguf-quants", "quants.json")));
        byte[] numbers = Convert.FromHexString(facts.RootElement.GetProperty("values_float32_little_endian_hex").GetString()!);
        string expected = facts.RootElement.GetProperty("types").GetProperty(type.ToString()).GetProperty("bytes_hex").GetString()!;

        Tensor values = tensor(MemoryMarshal.Cast<byte, float>(numbers).ToArray());
        Assert.Equal(expected, Encode(values, type), ignoreCase: true);
        Assert.Equal(expected.Length / 2, GgufEncoding.Bytes(type, values.numel()));
    }

    [Theory]
    [InlineData(GgufType.F32, "00000000000080bf")]
    [InlineData(GgufType.F16, "000000bc")]
    [InlineData(GgufType.BF16, "000080bf")]
    public void Floats_are_little_endian(GgufType type, string expected)
    {
        using var scope = NewDisposeScope();
        Assert.Equal(expected, Encode(tensor([0f, -1f]), type), ignoreCase: true);
    }

    [Fact]
    public void Numbers_out_of_range_are_noticed()
    {
        using var scope = NewDisposeScope();
        Tensor values = tensor([1e6f, 1f]);
        Assert.False(GgufEncoding.Encode(values, GgufType.F16, _ => { }));
        Assert.True(GgufEncoding.Encode(values, GgufType.BF16, _ => { }));
    }

    private static string Encode(Tensor values, GgufType type)
    {
        string hex = string.Empty;
        Assert.True(GgufEncoding.Encode(values, type, encoded => hex = Convert.ToHexString(encoded.bytes)));
        return hex;
    }
}
