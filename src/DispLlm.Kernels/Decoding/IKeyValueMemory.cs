namespace DispLlm.Kernels;

/// <summary>A key-value cache, as decode paths see it.</summary>
internal interface IKeyValueMemory
{
    /// <summary>Number of positions held, padding included.</summary>
    long Length { get; }

    /// <summary>Number of positions that the present tensors can hold.</summary>
    long Capacity { get; }

    /// <summary>Number of padding positions at the front of each row; null where no row has any.</summary>
    IReadOnlyList<int>? Padding { get; }

    /// <summary>What a decode path keeps for this cache; null for nothing. The cache disposes it.</summary>
    IDecodeState? DecodeState { get; set; }
}

/// <summary>What a decode path keeps for one cache.</summary>
internal interface IDecodeState : IDisposable
{
    /// <summary>Forgets where keys and values are: the cache has replaced its tensors.</summary>
    void Invalidate();
}
