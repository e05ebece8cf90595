// Tensor code uses every core by itself, and tests that count live tensors need the process to themselves.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
