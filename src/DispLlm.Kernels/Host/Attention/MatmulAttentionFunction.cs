using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Kernels;

/// <summary>
/// Causal attention by matrix multiplications, some rows of queries at a time against the keys that they see, with its backward pass. It
/// saves the attention weights. In bfloat16 it is faster than SIMD tiles on a processor with AMX, or with AVX512-BF16 where heads share
/// keys.
/// </summary>
internal sealed class MatmulAttentionFunction : autograd.SingleTensorFunction<MatmulAttentionFunction>
{
    // Fewer rows compute less above the diagonal; more make larger multiplications.
    private const long RowsPerStep = 128;

    public override string Name => nameof(MatmulAttentionFunction);

    /// <summary>The result, <c>[batch, heads, seq, head]</c>. Key-value heads are shared by neighbouring query heads.</summary>
    /// <param name="query"><c>[batch, heads, seq, head]</c>.</param>
    /// <param name="key"><c>[batch, key-value heads, seq, head]</c>.</param>
    /// <param name="value"><c>[batch, key-value heads, seq, head]</c>.</param>
    public static Tensor Apply(Tensor query, Tensor key, Tensor value) => query.requires_grad
        ? apply(query, key, value)
        : Attend(query, key, value, null).view(query.shape);

    /// <inheritdoc/>
    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        using var scope = NewDisposeScope();
        var (query, key, value) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor)vars[2]);
        var weights = new List<Tensor>();
        Tensor output = Attend(query, key, value, weights);
        ctx.save_for_backward([query, key, value, .. weights]);

        // libtorch takes them after this method's end.
        weights.ForEach(tensor => tensor.MoveToOuterDisposeScope());
        return output.view(query.shape).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        using var scope = new AutogradBackwardScope(grad_output);
        var saved = ctx.get_saved_variables();
        var heads = new HeadGroups(saved[0], saved[1], saved[2]);
        Tensor grad = grad_output.reshape(heads.Queries.shape);
        Tensor queries = empty_like(heads.Queries), keys = zeros_like(heads.Keys), values = zeros_like(heads.Values);
        foreach (var (rows, weights) in heads.Rows().Zip(saved.Skip(3)))
        {
            using var step = NewDisposeScope();
            Tensor outputGrad = heads.Flat(HeadGroups.RowsIn(grad, rows), rows);
            values.narrow(1, 0, rows.Seen).AddInPlace(DeviceKernels.Bmm(weights.transpose(1, 2), outputGrad));
            Tensor scoreGrad = DeviceKernels.Bmm(outputGrad, heads.Values.narrow(1, 0, rows.Seen).transpose(1, 2));
            SoftmaxKernel.Backward(weights, scoreGrad, heads.Scale);
            HeadGroups.RowsIn(queries, rows).copy_(heads.ByRow(DeviceKernels.Bmm(scoreGrad, heads.Keys.narrow(1, 0, rows.Seen)), rows));
            keys.narrow(1, 0, rows.Seen).AddInPlace(DeviceKernels.Bmm(scoreGrad.transpose(1, 2), heads.QueriesIn(rows)));
        }

        return
        [
            scope.Return(queries.view(saved[0].shape)),
            scope.Return(keys.view(saved[1].shape)),
            scope.Return(values.view(saved[2].shape)),
        ];
    }

    /// <summary>
    /// The result, <c>[groups, shared, seq, head]</c>; the weights of each range of rows are added to a list where one is given.
    /// </summary>
    private static Tensor Attend(Tensor query, Tensor key, Tensor value, List<Tensor>? saved)
    {
        using var scope = NewDisposeScope();
        var heads = new HeadGroups(query, key, value);
        Tensor output = empty_like(heads.Queries);
        foreach (var rows in heads.Rows())
        {
            using var step = NewDisposeScope();
            Tensor weights = DeviceKernels.Bmm(heads.QueriesIn(rows), heads.Keys.narrow(1, 0, rows.Seen).transpose(1, 2));
            SoftmaxKernel.CausalForward(weights, rows.Count, rows.First, heads.Scale);
            HeadGroups.RowsIn(output, rows).copy_(heads.ByRow(DeviceKernels.Bmm(weights, heads.Values.narrow(1, 0, rows.Seen)), rows));

            // Out of the step's scope and of this method's.
            saved?.Add(weights.MoveToOuterDisposeScope().MoveToOuterDisposeScope());
        }

        return output.MoveToOuterDisposeScope();
    }

    /// <summary>A range of queries, and the number of keys that they see.</summary>
    private readonly record struct RowRange(long First, long Count)
    {
        public long Seen => First + Count;
    }

    /// <summary>Query heads grouped by the key-value head that they share: one multiplication serves a group.</summary>
    private readonly struct HeadGroups
    {
        private readonly long _groups, _shared, _length;

        public HeadGroups(Tensor query, Tensor key, Tensor value)
        {
            long size = query.shape[3];
            _length = query.shape[2];
            _groups = key.shape[0] * key.shape[1];
            _shared = query.shape[1] / key.shape[1];
            Scale = 1 / MathF.Sqrt(size);
            Queries = query.reshape(_groups, _shared, _length, size);
            Keys = key.reshape(_groups, _length, size);
            Values = value.reshape(_groups, _length, size);
        }

        public float Scale { get; }

        public Tensor Queries { get; }    // [groups, shared, seq, head]

        public Tensor Keys { get; }       // [groups, seq, head]

        public Tensor Values { get; }     // [groups, seq, head]

        public IEnumerable<RowRange> Rows()
        {
            for (long first = 0; first < _length; first += RowsPerStep)
            {
                yield return new RowRange(first, Math.Min(RowsPerStep, _length - first));
            }
        }

        /// <summary>Rows of <c>[groups, shared, seq, ...]</c>.</summary>
        public static Tensor RowsIn(Tensor x, RowRange rows) => x.narrow(2, rows.First, rows.Count);

        /// <summary>The queries of a range, <c>[groups, shared * rows, head]</c>.</summary>
        public Tensor QueriesIn(RowRange rows) => Flat(RowsIn(Queries, rows), rows);

        /// <summary><c>[groups, shared, rows, ...]</c> as <c>[groups, shared * rows, ...]</c>.</summary>
        public Tensor Flat(Tensor x, RowRange rows) => x.reshape(_groups, _shared * rows.Count, x.shape[^1]);

        /// <summary>The inverse of <see cref="Flat"/>.</summary>
        public Tensor ByRow(Tensor x, RowRange rows) => x.view(_groups, _shared, rows.Count, x.shape[^1]);
    }
}
