namespace DispLlm;

/// <summary>
/// A decoder block for one position of each row of a batch, in the CPU's memory: the same loops as for tensors, and the same numbers to the bit, without a tensor on the way. In a small model making
/// those takes longer than what is computed in them. Blocks are such as LLaMA's: norms in front of attention and a gated MLP, one behind the other.
/// </summary>
internal sealed unsafe class HostBlock
{
    /// <summary>The norm in front of attention.</summary>
    public required HostNorm AttentionNorm { get; init; }

    /// <summary>The norm in front of the MLP.</summary>
    public required HostNorm MlpNorm { get; init; }

    /// <summary>The projections of attention, and of the MLP: gate and up.</summary>
    public required HostProjection Query { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostProjection Key { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostProjection Value { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostProjection Output { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostProjection Gate { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostProjection Up { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostProjection Down { get; init; }

    /// <summary>What sublayers read of the stream, and where they write; null for everything.</summary>
    public HostSelection? AttentionInput { get; init; }

    /// <inheritdoc cref="AttentionInput"/>
    public HostSelection? AttentionOutput { get; init; }

    /// <inheritdoc cref="AttentionInput"/>
    public HostSelection? MlpInput { get; init; }

    /// <inheritdoc cref="AttentionInput"/>
    public HostSelection? MlpOutput { get; init; }

    /// <summary>Rows up to which its products are fastest this way.</summary>
    public long MostRows => All.Min(projection => HostProduct.MostRows(projection.Weight.Width, projection.Weight.AreNarrow));

    private IEnumerable<HostProjection> All => [Query, Key, Value, Output, Gate, Up, Down];

    /// <summary>Numbers of scratch for each row.</summary>
    public long ScratchOfRow => All.Sum(projection => HostRoom.WholeLines(projection.Weight.Width) + HostRoom.WholeLines(projection.Weight.Count));

    /// <summary>Goes through the block.</summary>
    /// <param name="stream">The stream in front of it, which the one behind it is written over.</param>
    /// <param name="place">Where the rows stand, with the block's room in the cache.</param>
    /// <param name="scratch">As many numbers for each row as <see cref="ScratchOfRow"/> says.</param>
    /// <param name="passed">Told of each piece when it is done, for who measures; null for nobody.</param>
    public void Forward(HostRows stream, in HostPosition place, float* scratch, Action<BlockPiece>? passed)
    {
        HostRows Room(long width)
        {
            var rows = HostRows.Over(scratch, stream.Count, width, stream.AreNarrow);
            scratch += HostRoom.WholeLines(stream.Count * width);
            return rows;
        }

        HostProjection Into(HostProjection projection) => projection with { Result = Room(projection.Weight.Count) };

        HostRows entered = Room(Query.Weight.Width), mixed = Room(Output.Weight.Width);
        HostProjection query = Into(Query), key = Into(Key), value = Into(Value), output = Into(Output);
        AttentionNorm.Apply(stream, AttentionInput, entered);
        passed?.Invoke(BlockPiece.Norm);
        HostProduct.Apply(entered, query, key, value);
        passed?.Invoke(BlockPiece.Products);
        OnePositionAttention.Apply(query.Result, key.Result, value.Result, place, mixed);
        passed?.Invoke(BlockPiece.Attention);
        HostProduct.Apply(mixed, output);
        passed?.Invoke(BlockPiece.Products);
        HostLoops.PlusAt(stream, AttentionOutput, output.Result, stream);
        passed?.Invoke(BlockPiece.Sum);

        entered = Room(Gate.Weight.Width);
        HostProjection gate = Into(Gate), up = Into(Up), down = Into(Down);
        MlpNorm.Apply(stream, MlpInput, entered);
        passed?.Invoke(BlockPiece.Norm);
        HostProduct.Apply(entered, gate, up);
        passed?.Invoke(BlockPiece.Products);
        HostLoops.GatedSilu(gate.Result, up.Result, gate.Result);
        passed?.Invoke(BlockPiece.MlpActivation);
        HostProduct.Apply(gate.Result, down);
        passed?.Invoke(BlockPiece.Products);
        HostLoops.PlusAt(stream, MlpOutput, down.Result, stream);
        passed?.Invoke(BlockPiece.Sum);
    }
}
