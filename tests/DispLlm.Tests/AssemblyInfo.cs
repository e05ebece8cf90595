// Tests that compute with tensors run one after the other: tensor code uses every core by itself, and tests that count live tensors need
// the process to themselves. Classes without tensors name a collection of their own and run beside them.
[assembly: CollectionBehavior(CollectionBehavior.CollectionPerAssembly, MaxParallelThreads = 2)]
