using System.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// Every random number of a run, from one seed. Numbers come in named, indexed streams: a stream depends on nothing but the seed,
/// its name and its index. So no draw disturbs another, and step 500 can be drawn without drawing the 499 before it.
/// Draws are made on the CPU: the same seed means the same run on every device.
/// </summary>
public sealed class RandomSource
{
    /// <summary>Creates the source.</summary>
    /// <param name="seed">The run's seed.</param>
    public RandomSource(long seed) => Seed = seed;

    /// <summary>The run's seed.</summary>
    public long Seed { get; }

    /// <summary>Opens a stream of random numbers at its beginning.</summary>
    /// <param name="name">What the numbers are for.</param>
    /// <param name="index">Which of the streams of that name, for instance the step.</param>
    public RandomStream Stream(string name, long index = 0)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ulong state = Mix((ulong)Seed);
        foreach (byte b in Encoding.UTF8.GetBytes(name))
        {
            state = Mix(state ^ b);
        }

        return new RandomStream(Mix(state ^ (ulong)index));
    }

    /// <summary>The finalizer of SplitMix64: neighbouring inputs give unrelated outputs.</summary>
    private static ulong Mix(ulong x)
    {
        x += 0x9E3779B97F4A7C15;
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
}

/// <summary>One stream of a <see cref="RandomSource"/>. Not for use by several threads at once.</summary>
public sealed class RandomStream : IDisposable
{
    private readonly Generator _generator;

    internal RandomStream(ulong seed)
    {
        NativeTorch.EnsureLoaded();
        _generator = new Generator(seed, CPU);
    }

    /// <summary>Uniform numbers in [0, 1), float32 on the CPU.</summary>
    /// <param name="shape">Shape of the result.</param>
    public Tensor Uniform(params long[] shape) => rand(shape, ScalarType.Float32, CPU, generator: _generator);

    /// <summary>Numbers from the standard normal distribution, float32 on the CPU.</summary>
    /// <param name="shape">Shape of the result.</param>
    public Tensor Normal(params long[] shape) => randn(shape, ScalarType.Float32, CPU, generator: _generator);

    /// <summary>The numbers 0 to <paramref name="count"/> - 1 in random order.</summary>
    /// <param name="count">How many.</param>
    public long[] Permutation(long count)
    {
        using var order = randperm(count, ScalarType.Int64, CPU, generator: _generator);
        return order.data<long>().ToArray();
    }

    /// <inheritdoc/>
    public void Dispose() => _generator.Dispose();
}
