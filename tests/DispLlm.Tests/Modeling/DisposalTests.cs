using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Tests.Modeling;

/// <summary>A model or a cache that is disposed while threads use it ends their calls in order.</summary>
public sealed class DisposalTests
{
    private const int Threads = 4;

    [Fact]
    public async Task Dispose_waits_for_running_calls_and_later_calls_throw()
    {
        using var fixture = new Fixture("llama-mha");
        using var tokens = fixture.Expected("input_ids");
        for (int round = 0; round < 10; round++)
        {
            var model = PrunableModel.Load(fixture.Folder);
            using var gates = new Gates(fixture.Gates(model.GateLayout));
            using var everyCall = new CountdownEvent(Threads);
            bool isDisposed = false;
            int calls = 0;
            void Compute(int kind)
            {
                using var noGradient = no_grad();
                using var cache = model.CreateKeyValueCache();
                using var token = tokens.narrow(1, 0, 1);
                for (int call = 0; ; call++)
                {
                    bool wasDisposed = Volatile.Read(ref isDisposed);
                    try
                    {
                        using Tensor logits = (kind % 3) switch
                        {
                            0 => model.Logits(tokens),
                            1 => model.Logits(tokens, gates),
                            _ => model.NextTokenLogits(token, cache),
                        };
                        Assert.False(wasDisposed);
                        Assert.True(logits.isfinite().all().ToBoolean());
                        Interlocked.Increment(ref calls);
                        cache.Clear();
                    }
                    catch (ObjectDisposedException)
                    {
                        break;
                    }
                    finally
                    {
                        if (call == 0)
                        {
                            everyCall.Signal();
                        }
                    }
                }
            }

            Task[] tasks = [.. Enumerable.Range(0, Threads).Select(kind => Task.Factory.StartNew(
                () => Compute(kind), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
            everyCall.Wait(TestContext.Current.CancellationToken);
            model.Dispose();
            Volatile.Write(ref isDisposed, true);
            await Task.WhenAll(tasks);
            Assert.True(calls >= Threads);
            Assert.Throws<ObjectDisposedException>(() => model.Logits(tokens));
            Assert.Throws<ObjectDisposedException>(() => model.Weight(WeightRole.MlpDown, 0));
            model.Dispose();
        }
    }

    [Fact]
    public async Task A_cache_is_for_one_call_at_a_time_and_is_disposed_after_it()
    {
        using var model = PrunableModel.Load(Fixture.GetFolder("llama-mha"));
        using var token = ones([1, 1], ScalarType.Int64);
        var cache = model.CreateKeyValueCache();
        model.NextTokenLogits(token, cache).Dispose();
        await DisposeDuringACall(model, token, cache);
        Assert.Throws<ObjectDisposedException>(() => model.NextTokenLogits(token, cache));
        Assert.Throws<ObjectDisposedException>(cache.Clear);
        cache.Dispose();
    }

    [Fact]
    public void The_backward_pass_does_not_need_the_model()
    {
        using var scope = NewDisposeScope();
        using var fixture = new Fixture("llama-mha");
        Tensor Gradient(bool disposesFirst)
        {
            using var model = PrunableModel.Load(fixture.Folder);
            Tensor values = fixture.Gates(model.GateLayout).requires_grad_();
            Tensor loss = model.Logits(fixture.Expected("input_ids"), new Gates(values)).PowScalar(2).mean();
            if (disposesFirst)
            {
                model.Dispose();
            }

            loss.backward();
            return values.grad!;
        }

        Assert.True(Gradient(disposesFirst: false).Equals(Gradient(disposesFirst: true)));
    }

    [Fact]
    public void A_checkpointed_backward_pass_of_a_disposed_model_gives_no_numbers()
    {
        using var scope = NewDisposeScope();
        using var fixture = new Fixture("llama-mha");
        var model = PrunableModel.Load(fixture.Folder);
        using var gates = new Gates(fixture.Gates(model.GateLayout).requires_grad_()) { CheckpointActivations = true };
        Tensor loss = model.Logits(fixture.Expected("input_ids"), gates).PowScalar(2).mean();
        model.Dispose();
        loss.backward();
        Assert.True(gates.Values.grad!.isnan().all().ToBoolean());
    }

    private static Task DisposeDuringACall(PrunableModel model, Tensor token, KeyValueCache cache)
    {
        using var call = cache.Enter();
        Assert.Throws<InvalidOperationException>(() => model.NextTokenLogits(token, cache));
        Assert.Throws<InvalidOperationException>(() => cache.Truncate(0));
        using var begins = new ManualResetEventSlim();
        var dispose = Task.Run(() =>
        {
            begins.Set();
            cache.Dispose();
        });
        begins.Wait(TestContext.Current.CancellationToken);
        Assert.False(dispose.IsCompleted);
        Assert.Equal(1, cache.Length);
        return dispose;
    }
}
