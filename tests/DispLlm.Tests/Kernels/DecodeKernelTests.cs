using CsCheck;
using TorchSharp;
using static DispLlm.Tests.Kernels.KernelSamples;
using static TorchSharp.torch;

namespace DispLlm.Tests.Kernels;

/// <summary>Projections and attention of a decode step on a GPU equal libtorch's operators in float32 on the CPU.</summary>
public abstract class DecodeKernelTests
{
    /// <summary>The number of samples.</summary>
    protected virtual int Times => 60;

    private protected abstract CudaDecodeKernels Kernels(ScalarType type);

    /// <summary>A tensor on the device of the kernels.</summary>
    protected abstract Tensor OnDevice(Tensor x);

    [Fact]
    public void Small_batch_GEMM_equals_libtorch() =>
        Check(Gen.Select(Gen.Int[1, 16], Gen.OneOf(Gen.Int[1, 150], Gen.Int[300, 700]), Gen.Int[1, 200], Gen.Int[1, 3]), size =>
        {
            var (rows, eights, outputs, projections) = size;
            Tensor x = Draw(true, rows, 1, 8 * eights), bias = Draw(true, outputs);
            Tensor[] weights = [.. Enumerable.Range(0, projections).Select(i => Draw(true, outputs + (7 * i), 8 * eights))];
            Tensor[] results = Kernels(x.dtype).Project(
                OnDevice(x), [.. weights.Select((weight, i) => (OnDevice(weight), i == 0 ? OnDevice(bias) : null))])!;
            for (int i = 0; i < projections; i++)
            {
                Close.Within(Tolerance(true), nn.functional.linear(ToSingle(x), ToSingle(weights[i]), i == 0 ? ToSingle(bias) : null),
                    results[i], $"{size}, projection {i}");
            }
        }, Times);

    [Fact]
    public void Other_types_and_more_rows_are_not_supported()
    {
        using var scope = NewDisposeScope();
        var kernels = Kernels(ScalarType.BFloat16);
        Tensor weight = OnDevice(Draw(true, 5, 64));
        Assert.NotNull(kernels.Project(OnDevice(Draw(true, 16, 64)), [(weight, null)]));
        Assert.Null(kernels.Project(OnDevice(Draw(true, 17, 64)), [(weight, null)]));
        Assert.Null(kernels.Project(OnDevice(Draw(true, 1, 0)), [(OnDevice(Draw(true, 5, 0)), null)]));
        Assert.Null(kernels.Project(OnDevice(Draw(true, 1, 63)), [(OnDevice(Draw(true, 5, 63)), null)]));
        Assert.Null(kernels.Project(OnDevice(Draw(true, 1, 64)), [(weight, OnDevice(Draw(false, 5)))]));
        Assert.Null(kernels.Project(OnDevice(Draw(false, 1, 64)), [(OnDevice(Draw(false, 5, 64)), null)]));
    }

    /// <summary>
    /// One split and several; with and without rotary embedding, padding and shared keys; the number of positions as a value or a tensor.
    /// </summary>
    [Fact]
    public void Decode_attention_equals_rotary_embedding_cache_update_and_attention() =>
        Check(Gen.Select(Gen.OneOfConst(32, 64, 80, 128), Gen.Int[1, 3], Gen.Int[1, 300], Gen.Int[0, 2], Gen.Bool, Gen.Bool), size =>
        {
            var (head, shared, seen, rotated, padded, isBFloat16) = size;
            const int Batch = 2, Groups = 2;
            Tensor query = Draw(isBFloat16, Batch, 1, Groups * shared * head), key = Draw(isBFloat16, Batch, 1, Groups * head),
                value = Draw(isBFloat16, Batch, 1, Groups * head);
            Tensor keys = Draw(isBFloat16, Batch, Groups, seen + 5, head), values = Draw(isBFloat16, Batch, Groups, seen + 5, head);
            Tensor angle = randn(seen, head / 4 * Math.Max(1, rotated)), cosine = cat([angle.cos(), angle.cos()], -1).to(query.dtype);
            Tensor sine = cat([angle.sin().neg(), angle.sin()], -1).to(query.dtype);
            int[] padding = [0, padded ? seen - 1 : 0];
            var cache = (Key: OnDevice(keys).clone(), Value: OnDevice(values).clone());
            var kernels = Kernels(query.dtype);
            Assert.True(kernels.CanAttend(head));
            Tensor Attended(long given, Tensor? place) => kernels.Attend(
                OnDevice(query), OnDevice(key), OnDevice(value), rotated == 0 ? null : (OnDevice(cosine), OnDevice(sine)), padded
                    ? OnDevice(tensor(padding, ScalarType.Int32)) : null, cache, given, place);

            Tensor actual = Attended(seen, null);

            // The position of each row, without its padding.
            Tensor positions = tensor(padding.Select(hidden => (long)(seen - 1 - hidden)).ToArray(), ScalarType.Int64);
            Tensor Heads(Tensor x, bool rotates)
            {
                Tensor heads = x.view(Batch, 1, -1, head);
                Tensor AtPositions(Tensor table) => table.index_select(0, positions).unsqueeze(1);
                return (rotates && rotated > 0
                    ? HostKernels.Shared.ApplyRotary(heads, AtPositions(cosine), AtPositions(sine), inverse: false, inPlace: false)
                    : heads).transpose(1, 2);
            }

            keys.narrow(2, seen - 1, 1).copy_(Heads(key, true));
            values.narrow(2, seen - 1, 1).copy_(Heads(value, false));
            Close.Within(Tolerance(isBFloat16), ToSingle(keys), cache.Key, $"{size}, keys");
            Close.Within(0, ToSingle(values), cache.Value, $"{size}, values");
            Tensor visible = arange(seen).view(1, 1, 1, -1) >= tensor(padding).view(-1, 1, 1, 1);
            Tensor expected = FusedAttention(Heads(query, true), keys.narrow(2, 0, seen), values.narrow(2, 0, seen), visible);
            Close.Within(2 * Tolerance(isBFloat16), expected.transpose(1, 2).flatten(2), actual, $"{size}");
            Assert.True(actual.cpu().Equals(Attended(0, OnDevice(tensor([seen], ScalarType.Int32))).cpu()),
                "A value and a tensor give the same bytes.");
        }, Times);
}
