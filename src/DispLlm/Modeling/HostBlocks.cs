using static TorchSharp.torch;

namespace DispLlm.Modeling;

/// <summary>All blocks of a network for one position of each row of a batch, in the CPU's memory: the stream goes through them as one tensor, and none is made on the way.</summary>
internal sealed class HostBlocks
{
    private readonly DecoderSpec _spec;
    private readonly HostBlock[] _blocks;
    private readonly RotaryTable? _rotary;
    private readonly long _scratchOfRow;

    private HostBlocks(DecoderSpec spec, HostBlock[] blocks, RotaryTable? rotary)
    {
        (_spec, _blocks, _rotary) = (spec, blocks, rotary);
        _scratchOfRow = blocks.Max(block => block.ScratchOfRow);

        // As many as scratch in one piece has room for.
        MostRows = Math.Min(blocks.Min(block => block.MostRows), int.MaxValue / (2 * _scratchOfRow));
    }

    /// <summary>Rows up to which this is the faster way.</summary>
    public long MostRows { get; }

    /// <summary>Whether this is the faster way for a stream <c>[batch, seq, d]</c>: one position of not too many rows.</summary>
    public bool CanHandle(Tensor stream) => stream.size(1) == 1 && stream.size(0) <= MostRows;

    /// <summary>The blocks of a network; null if there is one that cannot be passed so.</summary>
    public static HostBlocks? TryCreate(DecoderSpec spec, IReadOnlyList<HostBlock?> blocks, RotaryTable? rotary)
    {
        HostBlock[] passable = [.. blocks.OfType<HostBlock>()];
        return passable.Length == spec.NumLayers ? new HostBlocks(spec, passable, rotary) : null;
    }

    /// <summary>Goes through all blocks.</summary>
    /// <param name="stream">The stream in front of them, <c>[batch, 1, d]</c>, which the one behind them is written over.</param>
    /// <param name="window">The window of this position.</param>
    /// <param name="cache">Where keys and values are, and are put.</param>
    /// <param name="passed">Told of each piece of a block when it is done, for who measures; null for nobody.</param>
    public unsafe void Pass(Tensor stream, ForwardContext window, KeyValueCache cache, Action<BlockPiece>? passed = null)
    {
        var rows = HostMatrix.FromTensor(stream);
        var place = window.InHostMemory(_rotary, stream);
        using var room = new AlignedBuffer(rows.Count * _scratchOfRow);
        for (int block = 0; block < _blocks.Length; block++)
        {
            var held = cache.HeldInHostMemory(block, stream, rows.Count, _spec.NumKeyValueHeads, _spec.HeadDim);
            _blocks[block].Forward(rows, place with { Held = held }, room.First, passed);
        }

        GC.KeepAlive(stream);
    }
}
