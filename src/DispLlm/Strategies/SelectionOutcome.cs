namespace DispLlm;

/// <summary>What a strategy decided. An immutable value, without tensors.</summary>
/// <param name="Plan">What is kept: within the budget.</param>
/// <param name="Scores">The scores that the plan was made from; they can be projected onto other budgets.</param>
/// <param name="History">One entry per learning step; empty for strategies that do not learn.</param>
public sealed record SelectionOutcome(SelectionPlan Plan, SelectionScores Scores, IReadOnlyList<PruningProgress> History)
{
    /// <summary>What was left alone, and is by <see cref="PlanFor"/> too. Default: nothing.</summary>
    public BudgetConstraints Constraints { get; init; } = BudgetConstraints.None;

    /// <summary>
    /// The plan that the same scores give for another budget. A run of its own for the budget is a little better where the two are far
    /// apart. Scales are kept, adapted to the budget (<see cref="FeatureScales.RescaledFor"/>).
    /// </summary>
    /// <param name="spec">The spec of the model that was selected from.</param>
    /// <param name="budget">How much of it may be kept.</param>
    /// <exception cref="BudgetException">The budget cannot be met by this model.</exception>
    public SelectionPlan PlanFor(DecoderSpec spec, PruningBudget budget)
    {
        ArgumentNullException.ThrowIfNull(budget);
        var plan = BudgetProjection.Project(spec, Scores, budget, new BudgetProjectionOptions
        {
            WidthMultiple = Plan.Provenance.WidthMultiple ?? 1,
            Layout = Plan.Layout,
            Constraints = Constraints,
            NormOrder = Plan.NormOrder,
            Family = Plan.Family,
            Strategy = Plan.Provenance.Strategy,
            Seed = Plan.Provenance.Seed,
        });
        return plan with { Scales = Plan.Scales?.RescaledFor(1 - plan.KeptFraction(budget.Scope), 1 - Plan.KeptFraction(budget.Scope)) };
    }
}
