namespace DispLlm.Modeling;

/// <summary>
/// One value per selection site of a block, such as its width or the indices that it keeps. Immutable and safe from several threads.
/// </summary>
/// <typeparam name="T">Type of the values.</typeparam>
public sealed class SiteMap<T> : IEquatable<SiteMap<T>>, ISiteMap
{
    private readonly T[] _values;

    internal SiteMap(T[] values) => _values = values;

    /// <summary>An empty map for the JSON reader, which then requires a value for every site.</summary>
    private SiteMap()
        : this(new T[SelectionSites.Count])
    {
    }

    /// <summary>The value of one site.</summary>
    /// <param name="site">The site.</param>
    /// <exception cref="ArgumentOutOfRangeException">No such site.</exception>
    public T this[SelectionSite site] => _values[SelectionSites.IndexOf(site)];

    object? ISiteMap.this[SelectionSite site]
    {
        get => this[site];
        set => _values[SelectionSites.IndexOf(site)] = (T)value!;
    }

    /// <summary>The same map with one site's value replaced.</summary>
    /// <param name="site">The site.</param>
    /// <param name="value">Its new value.</param>
    /// <exception cref="ArgumentOutOfRangeException">No such site.</exception>
    public SiteMap<T> With(SelectionSite site, T value)
    {
        T[] values = [.. _values];
        values[SelectionSites.IndexOf(site)] = value;
        return new SiteMap<T>(values);
    }

    /// <summary>Whether both have equal values at every site.</summary>
    /// <param name="other">The other map.</param>
    public bool Equals(SiteMap<T>? other) =>
        other is not null && _values.AsSpan().SequenceEqual(other._values, EqualityComparer<T>.Default);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as SiteMap<T>);

    /// <inheritdoc/>
    public override int GetHashCode() => SelectionSites.All.Aggregate(0, (hash, site) => HashCode.Combine(hash, this[site]));

    /// <inheritdoc/>
    public override string ToString() => string.Join(", ", SelectionSites.All.Select(site => $"S{(int)site}: {this[site]}"));
}

/// <summary>Makes site maps.</summary>
public static class SiteMap
{
    /// <summary>The map of what a function gives for each site.</summary>
    /// <typeparam name="T">Type of the values.</typeparam>
    /// <param name="create">Gives a site's value; called once per site, in the order of <see cref="SelectionSites.All"/>.</param>
    public static SiteMap<T> Create<T>(Func<SelectionSite, T> create)
    {
        ArgumentNullException.ThrowIfNull(create);
        return new SiteMap<T>([.. SelectionSites.All.Select(create)]);
    }
}

/// <summary>A site map whose type of values is known at run time only, as in a JSON contract.</summary>
internal interface ISiteMap
{
    object? this[SelectionSite site] { get; set; }
}
