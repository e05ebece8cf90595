namespace DispLlm;

/// <summary>A set of Unicode code points. Immutable and thread-safe.</summary>
internal sealed class CodePointSet
{
    private const int End = 0x110000;

    // Where the set begins and ends, in turn: a code point is inside where an odd number of bounds is at or before it.
    private readonly int[] _bounds;

    private CodePointSet(int[] bounds) => _bounds = bounds;

    public static CodePointSet Empty { get; } = new([]);

    public static CodePointSet All { get; } = new([0, End]);

    public bool IsEmpty => _bounds.Length == 0;

    /// <summary>The first code point of every range, and the first one after it, in turn and ascending.</summary>
    public ReadOnlySpan<int> Bounds => _bounds;

    public static CodePointSet Range(int first, int last) => new([first, last + 1]);

    public static CodePointSet FromPoints(IEnumerable<int> points)
    {
        var bounds = new List<int>();
        foreach (int point in points.Order().Distinct())
        {
            if (bounds.Count > 0 && bounds[^1] == point)
            {
                bounds[^1]++;
            }
            else
            {
                bounds.AddRange([point, point + 1]);
            }
        }

        return new CodePointSet([.. bounds]);
    }

    public static CodePointSet FromPredicate(Func<int, bool> contains)
    {
        var bounds = new List<int>();
        for (int point = 0; point < End; point++)
        {
            if (contains(point) != (bounds.Count % 2 == 1))
            {
                bounds.Add(point);
            }
        }

        return new CodePointSet(bounds.Count % 2 == 1 ? [.. bounds, End] : [.. bounds]);
    }

    /// <summary>The sets of all code points of each class, in one pass.</summary>
    /// <param name="count">Number of classes.</param>
    /// <param name="classify">The class of a code point, from 0.</param>
    public static CodePointSet[] Partition(int count, Func<int, int> classify)
    {
        var bounds = new List<int>[count];
        for (int i = 0; i < count; i++)
        {
            bounds[i] = [];
        }

        int current = classify(0);
        bounds[current].Add(0);
        for (int point = 1; point < End; point++)
        {
            int next = classify(point);
            if (next != current)
            {
                bounds[current].Add(point);
                bounds[current = next].Add(point);
            }
        }

        bounds[current].Add(End);
        return Array.ConvertAll(bounds, list => new CodePointSet([.. list]));
    }

    /// <summary>Reads ranges in hexadecimal numbers: <c>41-5A 5F</c>, ascending.</summary>
    public static CodePointSet Parse(ReadOnlySpan<char> ranges)
    {
        var bounds = new List<int>();
        foreach (var part in ranges.Split(' '))
        {
            var range = ranges[part];
            int dash = range.IndexOf('-');
            int first = Convert.ToInt32((dash < 0 ? range : range[..dash]).ToString(), 16);
            bounds.Add(first);
            bounds.Add((dash < 0 ? first : Convert.ToInt32(range[(dash + 1)..].ToString(), 16)) + 1);
        }

        return new CodePointSet([.. bounds]);
    }

    public bool Contains(int point)
    {
        int index = Array.BinarySearch(_bounds, point);
        return (index >= 0 ? index + 1 : ~index) % 2 == 1;
    }

    public CodePointSet Union(CodePointSet other) => Combine(other, (here, there) => here || there);

    public CodePointSet Intersect(CodePointSet other) => Combine(other, (here, there) => here && there);

    public CodePointSet Except(CodePointSet other) => Combine(other, (here, there) => here && !there);

    public CodePointSet Complement() => All.Except(this);

    public IEnumerable<int> Points()
    {
        for (int i = 0; i < _bounds.Length; i += 2)
        {
            for (int point = _bounds[i]; point < _bounds[i + 1]; point++)
            {
                yield return point;
            }
        }
    }

    private CodePointSet Combine(CodePointSet other, Func<bool, bool, bool> contains)
    {
        var bounds = new List<int>(_bounds.Length + other._bounds.Length);
        for (int i = 0, j = 0; i < _bounds.Length || j < other._bounds.Length;)
        {
            int here = i < _bounds.Length ? _bounds[i] : int.MaxValue;
            int there = j < other._bounds.Length ? other._bounds[j] : int.MaxValue;
            i += here <= there ? 1 : 0;
            j += there <= here ? 1 : 0;
            if (contains(i % 2 == 1, j % 2 == 1) != (bounds.Count % 2 == 1))
            {
                bounds.Add(Math.Min(here, there));
            }
        }

        return new CodePointSet([.. bounds]);
    }
}
