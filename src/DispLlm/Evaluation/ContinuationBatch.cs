using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>The score of one continuation. Immutable and thread-safe.</summary>
/// <param name="LogLikelihood">Log-likelihood, summed over the tokens of the continuation, in nats.</param>
/// <param name="IsGreedy">Whether each token is the most likely one.</param>
/// <param name="Tokens">Number of tokens in the continuation.</param>
public readonly record struct ContinuationScore(double LogLikelihood, bool IsGreedy, int Tokens);

/// <summary>
/// Continuations that are scored in one forward pass. A row of the batch is a context followed by all of its continuations. Each
/// continuation attends to the context and to itself, with the position ids that it would have alone. A context with four continuations is
/// computed once.
/// </summary>
internal sealed class ContinuationBatch
{
    private readonly List<Row> _rows = [];
    private readonly IReadOnlyList<EncodedContinuation> _continuations;

    public ContinuationBatch(IReadOnlyList<EncodedContinuation> continuations)
    {
        _continuations = continuations;
        foreach (var continuation in continuations)
        {
            if (_rows.Count == 0 || !_rows[^1].Context.AsSpan().SequenceEqual(continuation.Context))
            {
                _rows.Add(new Row(continuation.Context));
            }

            _rows[^1].Add(continuation.Continuation);
        }
    }

    /// <summary>The score of each continuation, in the order given.</summary>
    public IReadOnlyList<ContinuationScore> Score(IPrunableModel model)
    {
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        int length = _rows.Max(row => row.Tokens.Count);
        Tensor features = model.HiddenStates(TokenIds(length), Layout(length));
        long[] sources = [.. _rows.SelectMany((row, i) => row.Sources.Select(source => (long)i * length + source))];
        long[] targets = [.. _continuations.SelectMany(continuation => continuation.Continuation).Select(id => (long)id)];
        Tensor chosen = features.view(-1, features.shape[^1]).index_select(0, tensor(sources, ScalarType.Int64).to(features.device));
        double[] logarithms = new double[targets.Length];
        bool[] greedy = new bool[targets.Length];
        LogitChunks.ForEach(model, chosen, null, (first, logits) =>
        {
            int count = (int)logits.shape[0];
            Tensor next = tensor(targets.AsSpan(first, count).ToArray(), ScalarType.Int64).to(logits.device);
            Tensor likelihood = logits.log_softmax(-1).gather(1, next.unsqueeze(1)).squeeze(1).to(ScalarType.Float64);
            likelihood.cpu().data<double>().CopyTo(logarithms, first);
            logits.argmax(-1).eq(next).cpu().data<bool>().CopyTo(greedy, first);
        });
        if (!Array.TrueForAll(logarithms, double.IsFinite))
        {
            throw new EvaluationException("A log-likelihood is not finite. Check the weights for NaN, or compute in float32.");
        }

        var scores = new List<ContinuationScore>();
        int at = 0;
        foreach (var (_, continuation) in _continuations)
        {
            var range = at..(at += continuation.Length);
            scores.Add(new ContinuationScore(logarithms[range].Sum(), Array.TrueForAll(greedy[range], top => top), continuation.Length));
        }

        return scores;
    }

    private Tensor TokenIds(int length) =>
        tensor(
            _rows.SelectMany(row => row.Tokens.Concat(Enumerable.Repeat(0L, length - row.Tokens.Count))).ToArray(),
            ScalarType.Int64).view(_rows.Count, length);

    private SequenceLayout Layout(int length)
    {
        long[] positions = new long[_rows.Count * length];
        bool[] mask = new bool[_rows.Count * length * length];
        for (int i = 0; i < _rows.Count; i++)
        {
            for (int j = 0; j < length; j++)
            {
                int at = i * length + j;
                var row = mask.AsSpan(at * length, length);

                // Padding attends to itself: the softmax of a fully masked row is NaN.
                row[j] = true;
                if (j < _rows[i].Tokens.Count)
                {
                    positions[at] = _rows[i].Positions[j];
                    row[_rows[i].Begins[j]..j].Fill(true);
                    row[..Math.Min(j, _rows[i].Context.Length)].Fill(true);
                }
            }
        }

        return new SequenceLayout(
            tensor(positions, ScalarType.Int64).view(_rows.Count, length), tensor(mask).view(_rows.Count, length, length));
    }

    private sealed class Row
    {
        public Row(int[] context)
        {
            Context = context;
            Append(context, position: 0);
        }

        public int[] Context { get; }

        /// <summary>The input tokens: the context, and each continuation without its last token.</summary>
        public List<long> Tokens { get; } = [];

        public List<long> Positions { get; } = [];

        /// <summary>For each input token, the column where its context or continuation begins.</summary>
        public List<int> Begins { get; } = [];

        /// <summary>For each token of the continuations, the column whose logits predict it.</summary>
        public List<int> Sources { get; } = [];

        public void Add(int[] continuation)
        {
            Sources.Add(Context.Length - 1);
            Sources.AddRange(Enumerable.Range(Tokens.Count, continuation.Length - 1));
            Append(continuation.AsSpan(..^1), Context.Length);
        }

        private void Append(ReadOnlySpan<int> ids, int position)
        {
            int begin = Tokens.Count;
            foreach (int id in ids)
            {
                Tokens.Add(id);
                Positions.Add(position++);
                Begins.Add(begin);
            }
        }
    }
}
