// The tests run the tool in this process, in a current directory of their own.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
