using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Evaluation;

/// <summary>How likely a model finds one continuation.</summary>
/// <param name="LogLikelihood">The logarithm of its probability, the sum over its tokens, in nats.</param>
/// <param name="IsGreedy">Whether each of its tokens is the one that the model thinks most likely.</param>
/// <param name="Tokens">Its tokens.</param>
public readonly record struct ContinuationScore(double LogLikelihood, bool IsGreedy, int Tokens);

/// <summary>
/// Continuations scored in one forward pass. A row of the batch is a context and behind it each of its continuations, which sees the context and itself and stands where it would stand
/// alone: a context with four continuations is computed once, not four times.
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
        LogitChunks.Visit(model, chosen, (first, logits) =>
        {
            int count = (int)logits.shape[0];
            Tensor next = tensor(targets.AsSpan(first, count).ToArray(), ScalarType.Int64).to(logits.device);
            Tensor likelihood = logits.log_softmax(-1).gather(1, next.unsqueeze(1)).squeeze(1).to(ScalarType.Float64);
            likelihood.cpu().data<double>().CopyTo(logarithms, first);
            logits.argmax(-1).eq(next).cpu().data<bool>().CopyTo(greedy, first);
        });
        if (!Array.TrueForAll(logarithms, double.IsFinite))
        {
            throw new EvaluationException("The model gives a probability that is no number. Are its weights whole? Computing in float32 may help.");
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
        tensor(_rows.SelectMany(row => row.Tokens.Concat(Enumerable.Repeat(0L, length - row.Tokens.Count))).ToArray(), ScalarType.Int64).view(_rows.Count, length);

    private SequenceLayout Layout(int length)
    {
        long[] positions = new long[_rows.Count * length];
        bool[] visible = new bool[_rows.Count * length * length];
        for (int i = 0; i < _rows.Count; i++)
        {
            for (int j = 0; j < length; j++)
            {
                int at = i * length + j;
                var seen = visible.AsSpan(at * length, length);

                // Padding sees itself: a row that sees nothing would be 0 / 0.
                seen[j] = true;
                if (j < _rows[i].Tokens.Count)
                {
                    positions[at] = _rows[i].Positions[j];
                    seen[_rows[i].Begins[j]..j].Fill(true);
                    seen[..Math.Min(j, _rows[i].Context.Length)].Fill(true);
                }
            }
        }

        return new SequenceLayout(tensor(positions, ScalarType.Int64).view(_rows.Count, length), tensor(visible).view(_rows.Count, length, length));
    }

    private sealed class Row
    {
        public Row(int[] context)
        {
            Context = context;
            Read(context, position: 0);
        }

        public int[] Context { get; }

        /// <summary>What is read: the context, and each continuation but for its last token.</summary>
        public List<long> Tokens { get; } = [];

        public List<long> Positions { get; } = [];

        /// <summary>For each token read, the column of the first token of its own part.</summary>
        public List<int> Begins { get; } = [];

        /// <summary>For each token of the continuations, the column that predicts it.</summary>
        public List<int> Sources { get; } = [];

        public void Add(int[] continuation)
        {
            Sources.Add(Context.Length - 1);
            Sources.AddRange(Enumerable.Range(Tokens.Count, continuation.Length - 1));
            Read(continuation.AsSpan(..^1), Context.Length);
        }

        private void Read(ReadOnlySpan<int> ids, int position)
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
