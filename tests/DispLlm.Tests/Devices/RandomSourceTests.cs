using TorchSharp;
using Xunit;

namespace DispLlm.Tests.Devices;

public sealed class RandomSourceTests
{
    [Fact]
    public void The_same_seed_name_and_index_give_the_same_bytes()
    {
        Assert.Equal(Uniform(42, "gates", 3), Uniform(42, "gates", 3));
        Assert.Equal(Normal(42, "weights", 0), Normal(42, "weights", 0));
        Assert.Equal(Permutation(42, "order", 9), Permutation(42, "order", 9));
    }

    [Fact]
    public void Another_seed_name_or_index_gives_other_numbers()
    {
        float[] numbers = Uniform(42, "gates", 3);
        Assert.NotEqual(numbers, Uniform(43, "gates", 3));
        Assert.NotEqual(numbers, Uniform(42, "gate", 3));
        Assert.NotEqual(numbers, Uniform(42, "gates", 4));
    }

    [Fact]
    public void Neighbouring_streams_are_unrelated()
    {
        var seen = new HashSet<int>();
        for (int index = 0; index < 1000; index++)
        {
            using var stream = new RandomSource(1).Stream("s", index);
            using var first = stream.Uniform(1);
            seen.Add(BitConverter.SingleToInt32Bits(first.item<float>()));
        }

        // 1000 draws out of 2^24: a few may be equal by chance, hundreds only if the streams are related.
        Assert.InRange(seen.Count, 995, 1000);
    }

    [Fact]
    public void Streams_do_not_affect_each_other()
    {
        var source = new RandomSource(5);
        float[] alone = Uniform(5, "a", 0);
        using var a = source.Stream("a");
        using var b = source.Stream("b");
        var mixed = new List<float>();
        for (int i = 0; i < 4; i++)
        {
            using var other = b.Normal(16);
            using var global = torch.rand(16);
            using var mine = a.Uniform(4);
            mixed.AddRange(mine.data<float>().ToArray());
        }

        Assert.Equal(alone[..4], mixed[..4]);
        using var again = new RandomSource(5).Stream("a");
        var undisturbed = new List<float>();
        for (int i = 0; i < 4; i++)
        {
            using var mine = again.Uniform(4);
            undisturbed.AddRange(mine.data<float>().ToArray());
        }

        Assert.Equal(undisturbed, mixed);
    }

    [Fact]
    public void Any_index_can_be_drawn_without_those_before_it()
    {
        float[] direct = Uniform(8, "steps", 500);
        var source = new RandomSource(8);
        for (int step = 0; step < 500; step++)
        {
            using var stream = source.Stream("steps", step);
            using var draw = stream.Uniform(16);
        }

        using var last = source.Stream("steps", 500);
        using var numbers = last.Uniform(16);
        Assert.Equal(direct, numbers.data<float>().ToArray());
    }

    [Fact]
    public void Numbers_have_the_documented_type_and_distribution()
    {
        using var stream = new RandomSource(11).Stream("kinds");
        using var uniform = stream.Uniform(100, 100);
        using var normal = stream.Normal(100, 100);
        Assert.Equal(torch.ScalarType.Float32, uniform.dtype);
        Assert.Equal(DeviceType.CPU, normal.device_type);
        float[] u = uniform.data<float>().ToArray();
        Assert.All(u, x => Assert.InRange(x, 0f, 0.99999994f));
        Assert.InRange(u.Average(), 0.48f, 0.52f);
        float[] n = normal.data<float>().ToArray();
        Assert.InRange(n.Average(), -0.05f, 0.05f);
        Assert.InRange(n.Average(x => x * x), 0.9f, 1.1f);
        Assert.Equal(Enumerable.Range(0, 50).Select(i => (long)i), stream.Permutation(50).Order());
    }

    [Fact]
    public void A_stream_needs_a_name() => Assert.Throws<ArgumentException>("name", () => new RandomSource(1).Stream(string.Empty));

    private static float[] Uniform(long seed, string name, long index)
    {
        using var stream = new RandomSource(seed).Stream(name, index);
        using var numbers = stream.Uniform(16);
        return numbers.data<float>().ToArray();
    }

    private static float[] Normal(long seed, string name, long index)
    {
        using var stream = new RandomSource(seed).Stream(name, index);
        using var numbers = stream.Normal(4, 4);
        return numbers.data<float>().ToArray();
    }

    private static long[] Permutation(long seed, string name, long index)
    {
        using var stream = new RandomSource(seed).Stream(name, index);
        return stream.Permutation(64);
    }
}
