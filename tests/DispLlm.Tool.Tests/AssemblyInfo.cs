// Each test waits for processes that use one core each.
[assembly: CollectionBehavior(MaxParallelThreads = 2)]
