using System.Globalization;
using System.Numerics;

namespace DispLlm;

/// <summary>How a budget is expressed.</summary>
public enum BudgetKind
{
    /// <summary>The fraction of the scope's parameters that is removed.</summary>
    Ratio,

    /// <summary>The fraction of the scope's parameters that is kept.</summary>
    KeepFraction,

    /// <summary>The number of the scope's parameters that are kept.</summary>
    Parameters,
}

/// <summary>
/// How many parameters may be kept, and of which (docs/method.md, Parameter accounting). Fractions are decimal numbers: 0.3 is three
/// tenths, so <c>1 - 0.3</c> of a model is exactly seven tenths and two machines never differ by one parameter. An immutable value.
/// </summary>
public sealed record PruningBudget
{
    private readonly ParameterScope _scope;

    private PruningBudget(BudgetKind kind, decimal value)
    {
        Kind = kind;
        // Dividing by 1.000... drops trailing zeros: 0.50 and 0.5 are one budget, and one text.
        Value = value / 1.0000000000000000000000000000m;
    }

    /// <summary>What <see cref="Value"/> is.</summary>
    public BudgetKind Kind { get; }

    /// <summary>The fraction removed, the fraction kept, or the number kept: see <see cref="Kind"/>.</summary>
    public decimal Value { get; }

    /// <summary>Which parameters are counted. Default: <see cref="ParameterScope.BlockWeights"/>.</summary>
    /// <exception cref="BudgetException">No such scope.</exception>
    public ParameterScope Scope
    {
        get => _scope;
        init => _scope = Enum.IsDefined(value)
            ? value
            : throw new BudgetException(
                $"A budget's scope is {(int)value}; there are {string.Join(", ", Enum.GetNames<ParameterScope>())}.");
    }

    /// <summary>A budget by pruning ratio.</summary>
    /// <param name="ratio">The fraction of parameters that is removed, from 0 to below 1; read with 15 significant digits.</param>
    /// <exception cref="BudgetException">The ratio is out of range.</exception>
    public static PruningBudget FromRatio(double ratio) => Create(BudgetKind.Ratio, ToDecimal(ratio, "pruning ratio"));

    /// <summary>A budget by kept fraction: the paper's <c>p</c>.</summary>
    /// <param name="fraction">The fraction of parameters that is kept, above 0 and at most 1; read with 15 significant digits.</param>
    /// <exception cref="BudgetException">The fraction is out of range.</exception>
    public static PruningBudget FromKeepFraction(double fraction) =>
        Create(BudgetKind.KeepFraction, ToDecimal(fraction, "kept fraction"));

    /// <summary>A budget by number of parameters.</summary>
    /// <param name="count">
    /// How many parameters of the scope may be kept, at least 1; <see cref="TargetFor"/> checks it against the model.
    /// </param>
    /// <exception cref="BudgetException">The count is not positive.</exception>
    public static PruningBudget FromParameters(long count) => Create(BudgetKind.Parameters, count);

    /// <summary>The most parameters that may be kept: the kept fraction of the dense model, rounded down.</summary>
    /// <param name="counter">Counts the model.</param>
    /// <returns>The target, in parameters of <see cref="Scope"/>.</returns>
    /// <exception cref="BudgetException">A number of parameters above what the model has.</exception>
    public long TargetFor(ParameterCounter counter)
    {
        ArgumentNullException.ThrowIfNull(counter);
        long dense = counter.Dense[Scope];
        if (Kind != BudgetKind.Parameters)
        {
            return FloorMultiply(dense, Kind == BudgetKind.Ratio ? 1m - Value : Value);
        }

        return Value <= dense
            ? (long)Value
            : throw new BudgetException(FormattableString.Invariant(
                $"The budget of {Value} parameters is more than the model's {dense} of {Scope}. Ask for less, or in another scope."));
    }

    /// <inheritdoc/>
    public override string ToString() => Kind switch
    {
        BudgetKind.Ratio => string.Create(CultureInfo.InvariantCulture, $"pruning ratio {Value} of {Scope}"),
        BudgetKind.KeepFraction => string.Create(CultureInfo.InvariantCulture, $"kept fraction {Value} of {Scope}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{Value} parameters of {Scope}"),
    };

    internal static PruningBudget Create(BudgetKind kind, decimal value) => kind switch
    {
        BudgetKind.Ratio when value is >= 0m and < 1m => new(kind, value),
        BudgetKind.KeepFraction when value is > 0m and <= 1m => new(kind, value),
        BudgetKind.Parameters when value is >= 1m and <= long.MaxValue && decimal.IsInteger(value) => new(kind, value),
        BudgetKind.Ratio => throw OutOfRange("pruning ratio", value, "from 0 to below 1"),
        BudgetKind.KeepFraction => throw OutOfRange("kept fraction", value, "above 0 and at most 1"),
        BudgetKind.Parameters => throw OutOfRange("number of parameters", value, "a whole number of at least 1"),
        _ => throw new BudgetException($"There is no budget kind {(int)kind}."),
    };

    private static decimal ToDecimal(double value, string what) =>
        double.IsFinite(value) && Math.Abs(value) < 1e9 ? (decimal)value : throw OutOfRange(what, value, "a fraction within 0 to 1");

    private static BudgetException OutOfRange(string what, IFormattable value, string range) =>
        new($"A budget's {what} is {value.ToString(null, CultureInfo.InvariantCulture)}; it must be {range}.");

    // In integers: decimal multiplication rounds beyond 28 digits, and a target rounded up would let a plan exceed its budget.
    private static long FloorMultiply(long dense, decimal fraction)
    {
        Span<int> bits = stackalloc int[4];
        decimal.GetBits(fraction, bits);
        var mantissa = ((BigInteger)(uint)bits[2] << 64) | ((BigInteger)(uint)bits[1] << 32) | (uint)bits[0];
        int scale = (bits[3] >> 16) & 0xFF;
        return (long)(dense * mantissa / BigInteger.Pow(10, scale));
    }
}
