namespace DispLlm.Kernels;

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
    public required HostLinear Query { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostLinear Key { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostLinear Value { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostLinear Output { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostLinear Gate { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostLinear Up { get; init; }

    /// <inheritdoc cref="Query"/>
    public required HostLinear Down { get; init; }

    /// <summary>What sublayers read of the stream, and where they write; null for everything.</summary>
    public HostSelection? AttentionInput { get; init; }

    /// <inheritdoc cref="AttentionInput"/>
    public HostSelection? AttentionOutput { get; init; }

    /// <inheritdoc cref="AttentionInput"/>
    public HostSelection? MlpInput { get; init; }

    /// <inheritdoc cref="AttentionInput"/>
    public HostSelection? MlpOutput { get; init; }

    /// <summary>Rows up to which its products are fastest this way.</summary>
    public long MostRows => All.Min(projection => HostGemm.MaxRows(projection.Weight.Width, projection.Weight.IsBFloat16));

    private IEnumerable<HostLinear> All => [Query, Key, Value, Output, Gate, Up, Down];

    /// <summary>Numbers of scratch for each row.</summary>
    public long ScratchOfRow => All.Sum(projection => AlignedBuffer.RoundUpToCacheLine(projection.Weight.Width) + AlignedBuffer.RoundUpToCacheLine(projection.Weight.Count));

    /// <summary>Goes through the block.</summary>
    /// <param name="stream">The stream in front of it, which the one behind it is written over.</param>
    /// <param name="place">Where the rows stand, with the block's room in the cache.</param>
    /// <param name="scratch">As many numbers for each row as <see cref="ScratchOfRow"/> says.</param>
    /// <param name="passed">Told of each piece when it is done, for who measures; null for nobody.</param>
    public void Forward(HostMatrix stream, in DecodePosition place, float* scratch, Action<BlockPiece>? passed)
    {
        HostMatrix Room(long width)
        {
            var rows = HostMatrix.FromPointer(scratch, stream.Count, width, stream.IsBFloat16);
            scratch += AlignedBuffer.RoundUpToCacheLine(stream.Count * width);
            return rows;
        }

        HostLinear Into(HostLinear projection) => projection with { Result = Room(projection.Weight.Count) };

        HostMatrix entered = Room(Query.Weight.Width), mixed = Room(Output.Weight.Width);
        HostLinear query = Into(Query), key = Into(Key), value = Into(Value), output = Into(Output);
        AttentionNorm.Apply(stream, AttentionInput, entered);
        passed?.Invoke(BlockPiece.Norm);
        HostGemm.Apply(entered, query, key, value);
        passed?.Invoke(BlockPiece.Products);
        DecodeAttention.Apply(query.Result, key.Result, value.Result, place, mixed);
        passed?.Invoke(BlockPiece.Attention);
        HostGemm.Apply(mixed, output);
        passed?.Invoke(BlockPiece.Products);
        IndexAddKernel.Forward(stream, AttentionOutput, output.Result, stream);
        passed?.Invoke(BlockPiece.Sum);

        entered = Room(Gate.Weight.Width);
        HostLinear gate = Into(Gate), up = Into(Up), down = Into(Down);
        MlpNorm.Apply(stream, MlpInput, entered);
        passed?.Invoke(BlockPiece.Norm);
        HostGemm.Apply(entered, gate, up);
        passed?.Invoke(BlockPiece.Products);
        SwiGluKernel.Forward(gate.Result, up.Result, gate.Result);
        passed?.Invoke(BlockPiece.MlpActivation);
        HostGemm.Apply(gate.Result, down);
        passed?.Invoke(BlockPiece.Products);
        IndexAddKernel.Forward(stream, MlpOutput, down.Result, stream);
        passed?.Invoke(BlockPiece.Sum);
    }
}
