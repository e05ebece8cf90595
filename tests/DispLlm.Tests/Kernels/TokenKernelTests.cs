using CsCheck;
using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>Projections and attention of few tokens compute on a GPU what the framework's operators do in float32 on the CPU.</summary>
public abstract class TokenKernelTests
{
    /// <summary>How many samples are drawn.</summary>
    protected virtual int Times => 60;

    private protected abstract CudaDecodeKernels Kernels(ScalarType type);

    /// <summary>A tensor where the kernels compute.</summary>
    protected abstract Tensor There(Tensor x);

    [Fact]
    public void Products_of_few_rows_are_the_frameworks() =>
        Check(Gen.Select(Gen.Int[1, 16], Gen.OneOf(Gen.Int[1, 150], Gen.Int[300, 700]), Gen.Int[1, 200], Gen.Int[1, 3]), size =>
        {
            var (rows, eights, outputs, projections) = size;
            Tensor x = Draw(true, rows, 1, 8 * eights), bias = Draw(true, outputs);
            Tensor[] weights = [.. Enumerable.Range(0, projections).Select(i => Draw(true, outputs + (7 * i), 8 * eights))];
            Tensor[] results = Kernels(x.dtype).Project(There(x), [.. weights.Select((weight, i) => (There(weight), i == 0 ? There(bias) : null))])!;
            for (int i = 0; i < projections; i++)
            {
                Close.Within(Tolerance(true), nn.functional.linear(Wide(x), Wide(weights[i]), i == 0 ? Wide(bias) : null), results[i], $"{size}, projection {i}");
            }
        }, Times);

    [Fact]
    public void What_is_not_bfloat16_or_not_few_is_left_to_the_framework()
    {
        using var scope = NewDisposeScope();
        var kernels = Kernels(ScalarType.BFloat16);
        Tensor weight = There(Draw(true, 5, 64));
        Assert.NotNull(kernels.Project(There(Draw(true, 16, 64)), [(weight, null)]));
        Assert.Null(kernels.Project(There(Draw(true, 17, 64)), [(weight, null)]));
        Assert.Null(kernels.Project(There(Draw(true, 1, 0)), [(There(Draw(true, 5, 0)), null)]));
        Assert.Null(kernels.Project(There(Draw(true, 1, 63)), [(There(Draw(true, 5, 63)), null)]));
        Assert.Null(kernels.Project(There(Draw(true, 1, 64)), [(weight, There(Draw(false, 5)))]));
        Assert.Null(kernels.Project(There(Draw(false, 1, 64)), [(There(Draw(false, 5, 64)), null)]));
    }

    /// <summary>Fewer positions than a stretch has, and several stretches; turned and not, behind padding and not, with shared keys and not; told how many are seen, or where that lies.</summary>
    [Fact]
    public void One_position_is_turned_kept_and_attends_as_the_framework_says() =>
        Check(Gen.Select(Gen.OneOfConst(32, 64, 80, 128), Gen.Int[1, 3], Gen.Int[1, 300], Gen.Int[0, 2], Gen.Bool, Gen.Bool), size =>
        {
            var (head, shared, seen, turned, padded, narrow) = size;
            const int Batch = 2, Groups = 2;
            Tensor query = Draw(narrow, Batch, 1, Groups * shared * head), key = Draw(narrow, Batch, 1, Groups * head), value = Draw(narrow, Batch, 1, Groups * head);
            Tensor keys = Draw(narrow, Batch, Groups, seen + 5, head), values = Draw(narrow, Batch, Groups, seen + 5, head);
            Tensor angle = randn(seen, head / 4 * Math.Max(1, turned)), cosine = cat([angle.cos(), angle.cos()], -1).to(query.dtype);
            Tensor sine = cat([angle.sin().neg(), angle.sin()], -1).to(query.dtype);
            int[] padding = [0, padded ? seen - 1 : 0];
            var held = (Key: There(keys).clone(), Value: There(values).clone());
            var kernels = Kernels(query.dtype);
            Assert.True(kernels.CanAttend(head));
            Tensor Attended(long given, Tensor? place) => kernels.Attend(
                There(query), There(key), There(value), turned == 0 ? null : (There(cosine), There(sine)), padded ? There(tensor(padding, ScalarType.Int32)) : null, held, given, place);

            Tensor actual = Attended(seen, null);

            // Each row stands where its padding leaves it.
            Tensor places = tensor(padding.Select(hidden => (long)(seen - 1 - hidden)).ToArray(), ScalarType.Int64);
            Tensor Heads(Tensor x, bool turns)
            {
                Tensor heads = x.view(Batch, 1, -1, head);
                Tensor AtPlaces(Tensor table) => table.index_select(0, places).unsqueeze(1);
                return (turns && turned > 0 ? HostKernels.Shared.ApplyRotary(heads, AtPlaces(cosine), AtPlaces(sine), back: false, inPlace: false) : heads).transpose(1, 2);
            }

            keys.narrow(2, seen - 1, 1).copy_(Heads(key, true));
            values.narrow(2, seen - 1, 1).copy_(Heads(value, false));
            Close.Within(Tolerance(narrow), Wide(keys), held.Key, $"{size}, keys");
            Close.Within(0, Wide(values), held.Value, $"{size}, values");
            Tensor visible = arange(seen).view(1, 1, 1, -1) >= tensor(padding).view(-1, 1, 1, 1);
            Tensor expected = FusedAttention(Heads(query, true), keys.narrow(2, 0, seen), values.narrow(2, 0, seen), visible);
            Close.Within(2 * Tolerance(narrow), expected.transpose(1, 2).flatten(2), actual, $"{size}");
            Assert.True(actual.cpu().Equals(Attended(0, There(tensor([seen], ScalarType.Int32))).cpu()), "Whoever tells how many are seen, the bytes are the same.");
        }, Times);
}
