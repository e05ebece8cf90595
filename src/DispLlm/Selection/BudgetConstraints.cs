using System.Globalization;

namespace DispLlm;

/// <summary>
/// What a selection has to leave alone, besides its budget. Learning holds gates at excluded sites open, and the projection onto the budget
/// honours every limit exactly. An immutable value.
/// </summary>
public sealed record BudgetConstraints
{
    private readonly double _maxBlockRatio = 1;
    private readonly int _minAttentionGroups;
    private readonly IReadOnlyDictionary<int, double> _maxBlockRatios = new Dictionary<int, double>();

    /// <summary>No constraints.</summary>
    public static BudgetConstraints None { get; } = new();

    /// <summary>Blocks that are kept whole, counted from the first, or from the last as in <c>^1</c>. Default: none.</summary>
    public IReadOnlyList<Index> ExcludedBlocks { get; init; } = [];

    /// <summary>Sites that are kept whole in every block. Default: none.</summary>
    public IReadOnlyList<SelectionSite> ExcludedSites { get; init; } = [];

    /// <summary>
    /// The most that may be removed of any block, as a fraction of its parameters in the budget's scope. Default 1: no limit. From 0 to 1.
    /// </summary>
    /// <exception cref="BudgetException">Another number.</exception>
    public double MaxBlockRatio
    {
        get => _maxBlockRatio;
        init => _maxBlockRatio = Checked(value);
    }

    /// <summary>The same for single blocks, by index from 0; it replaces <see cref="MaxBlockRatio"/> there. Default: none.</summary>
    /// <exception cref="BudgetException">A ratio outside of 0 to 1.</exception>
    public IReadOnlyDictionary<int, double> MaxBlockRatios
    {
        get => _maxBlockRatios;
        init => _maxBlockRatios = value.ToDictionary(entry => entry.Key, entry => Checked(entry.Value));
    }

    /// <summary>
    /// The fewest key-value groups that a block keeps where a layout cuts them; all where a block has fewer. Default 0: a block may be left
    /// without attention, which some runtimes cannot read. At least 0.
    /// </summary>
    /// <exception cref="BudgetException">Below 0.</exception>
    public int MinAttentionGroups
    {
        get => _minAttentionGroups;
        init => _minAttentionGroups = value >= 0 ? value
            : throw new BudgetException($"The fewest key-value groups of a block are {value}; they must be at least 0.");
    }

    /// <summary>Whether nothing is constrained.</summary>
    internal bool IsEmpty => MinAttentionGroups == 0 && ExcludedBlocks.Count == 0 && ExcludedSites.Count == 0 && MaxBlockRatio == 1
        && MaxBlockRatios.Count == 0;

    /// <summary>The most that may be removed of a block.</summary>
    internal double MaxRatioOf(int block) => MaxBlockRatios.GetValueOrDefault(block, MaxBlockRatio);

    /// <summary>Whether a site of a block is kept whole.</summary>
    internal bool Excludes(int block, SelectionSite site, int blocks) =>
        ExcludedSites.Contains(site) || ExcludedBlocks.Any(index => index.GetOffset(blocks) == block);

    /// <summary>Refuses blocks that a model does not have.</summary>
    internal void Validate(int blocks)
    {
        foreach (int block in ExcludedBlocks.Select(index => index.GetOffset(blocks)).Concat(MaxBlockRatios.Keys))
        {
            if (block < 0 || block >= blocks)
            {
                throw new BudgetException($"The constraints name block {block}; the model has blocks 0 to {blocks - 1}.");
            }
        }

        if (ExcludedSites.Any(site => !Enum.IsDefined(site)))
        {
            throw new BudgetException(
                $"The constraints name a site that does not exist; there are {string.Join(", ", Enum.GetNames<SelectionSite>())}.");
        }
    }

    /// <inheritdoc/>
    public bool Equals(BudgetConstraints? other) => other is not null && ToString() == other.ToString();

    /// <inheritdoc/>
    public override int GetHashCode() => ToString().GetHashCode(StringComparison.Ordinal);

    /// <summary>The constraints in words; empty where nothing is constrained.</summary>
    public override string ToString()
    {
        string Number(double value) => value.ToString(CultureInfo.InvariantCulture);
        var words = new List<string>();
        if (ExcludedBlocks.Count > 0)
        {
            words.Add($"excluded blocks {string.Join(", ", ExcludedBlocks)}");
        }

        if (ExcludedSites.Count > 0)
        {
            words.Add($"excluded sites {string.Join(", ", ExcludedSites.Order())}");
        }

        if (MaxBlockRatio < 1)
        {
            words.Add($"at most {Number(MaxBlockRatio)} of a block removed");
        }

        words.AddRange(MaxBlockRatios.OrderBy(entry => entry.Key).Select(entry =>
            $"at most {Number(entry.Value)} of block {entry.Key} removed"));
        if (MinAttentionGroups > 0)
        {
            words.Add($"at least {MinAttentionGroups} key-value groups in a block");
        }

        return string.Join("; ", words);
    }

    private static double Checked(double ratio) => ratio is >= 0 and <= 1
        ? ratio
        : throw new BudgetException(string.Create(CultureInfo.InvariantCulture,
            $"The most that may be removed of a block is {ratio}; it must be from 0 to 1."));
}
