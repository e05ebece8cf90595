using System.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>
/// All random numbers of a run, from one seed, in named and indexed streams. A stream depends on the seed, its name and its index only, so
/// streams do not affect each other, and step 500 can be drawn without the 499 before it. Numbers are drawn on the CPU: the same seed gives
/// the same numbers on every device.
/// </summary>
/// <remarks>Immutable and thread-safe; a <see cref="RandomStream"/> is not.</remarks>
public sealed class RandomSource
{
    /// <summary>Creates the source.</summary>
    /// <param name="seed">The seed of the run.</param>
    public RandomSource(long seed) => Seed = seed;

    /// <summary>The seed of the run.</summary>
    public long Seed { get; }

    /// <summary>Creates a stream of random numbers, at its beginning.</summary>
    /// <param name="name">The purpose of the numbers.</param>
    /// <param name="index">The index among the streams of that name, for instance the step.</param>
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

/// <summary>A stream of a <see cref="RandomSource"/>. Not thread-safe.</summary>
public sealed class RandomStream : IDisposable
{
    private readonly Generator _generator;

    internal RandomStream(ulong seed)
    {
        NativeTorch.EnsureLoaded();
        _generator = new Generator(seed, CPU);
    }

    /// <summary>Uniform numbers in [0, 1), float32 on the CPU.</summary>
    /// <param name="shape">The shape of the result.</param>
    public Tensor Uniform(params long[] shape) => rand(shape, ScalarType.Float32, CPU, generator: _generator);

    /// <summary>Numbers from the standard normal distribution, float32 on the CPU.</summary>
    /// <param name="shape">The shape of the result.</param>
    public Tensor Normal(params long[] shape) => randn(shape, ScalarType.Float32, CPU, generator: _generator);

    /// <summary>The integers from 0 to <paramref name="count"/> - 1 in random order.</summary>
    /// <param name="count">The number of integers.</param>
    public long[] Permutation(long count)
    {
        using var order = randperm(count, ScalarType.Int64, CPU, generator: _generator);
        return order.data<long>().ToArray();
    }

    /// <inheritdoc/>
    public void Dispose() => _generator.Dispose();
}
