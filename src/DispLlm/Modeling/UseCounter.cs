namespace DispLlm.Modeling;

/// <summary>Counts the calls that use an object, so that the object is disposed after the last of them. Thread-safe.</summary>
/// <param name="owner">The name of the object's type, for exceptions.</param>
internal sealed class UseCounter(string owner)
{
    // The sign bit of the count.
    private const int Closed = int.MinValue;

    private readonly TaskCompletionSource _unused = new();
    private int _count;

    /// <summary>Begins a call, which ends when the result is disposed.</summary>
    /// <exception cref="ObjectDisposedException">The object is disposed.</exception>
    public Use Enter() => TryEnter(out var use) ? use : throw new ObjectDisposedException(owner);

    /// <summary>Begins a call, which ends when <paramref name="use"/> is disposed, unless the object is disposed.</summary>
    public bool TryEnter(out Use use)
    {
        use = new Use(this);
        if (Interlocked.Increment(ref _count) > 0)
        {
            return true;
        }

        Exit();
        return false;
    }

    /// <summary>Begins a call beside which there may be no other.</summary>
    /// <exception cref="ObjectDisposedException">The object is disposed.</exception>
    /// <exception cref="InvalidOperationException">Another call is running.</exception>
    public Use EnterAlone()
    {
        int present = Interlocked.CompareExchange(ref _count, 1, 0);
        return present == 0 ? new Use(this)
            : present < 0 ? throw new ObjectDisposedException(owner)
            : throw new InvalidOperationException($"The {owner} is in use by another thread.");
    }

    /// <summary>Refuses further calls and waits for those that are running.</summary>
    /// <returns>Whether this is the first time: the caller disposes the object then.</returns>
    public bool Close()
    {
        bool isFirst = Interlocked.Or(ref _count, Closed) >= 0;
        if (Volatile.Read(ref _count) == Closed)
        {
            _unused.TrySetResult();
        }

        _unused.Task.Wait();
        return isFirst;
    }

    private void Exit()
    {
        if (Interlocked.Decrement(ref _count) == Closed)
        {
            _unused.TrySetResult();
        }
    }

    /// <summary>A running call.</summary>
    public readonly ref struct Use(UseCounter counter)
    {
        public void Dispose() => counter.Exit();
    }
}
