// The operations between matrix multiplications, each in one pass over memory. A block has one row, or a part of it.

// Selected features per thread that are loaded before it waits.
#define KNOWN 4

// A norm of a row: of the selected features, or of all without an index. With an index it needs shared memory for a row.
template <int N>
__device__ __forceinline__ void norm(
    const number* x, const number* weight, const number* bias, const long long* index, number* result, int width, int selected, int centred, float epsilon)
{
    int features[KNOWN];
    float scales[KNOWN], shifts[KNOWN];
    if (index)
    {
#pragma unroll
        for (int k = 0; k < KNOWN; k++)
        {
            int i = threadIdx.x + k * blockDim.x;
            features[k] = i < selected ? (int)index[i] : 0;
            scales[k] = wide(weight[features[k]]);
            shifts[k] = bias ? wide(bias[features[k]]) : 0;
        }
    }

    wait_for_previous();
    const number* from = x + (long long)blockIdx.x * width;
    number* to = result + (long long)blockIdx.x * selected;
    float mean = 0, squares = 0;
    if (centred)
    {
        float sum = 0;
        for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
        {
            Pack<N> numbers = load<N>(from + i);
#pragma unroll
            for (int n = 0; n < N; n++)
            {
                sum += wide(numbers.at[n]);
            }
        }

        mean = total(sum) / width;
    }

    for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
    {
        Pack<N> numbers = load<N>(from + i);
        Factors<N> distances;
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            distances.at[n] = wide(numbers.at[n]) - mean;
            squares += distances.at[n] * distances.at[n];
        }

        if (index)
        {
            *(Factors<N>*)(scratch + i) = distances;
        }
    }

    float spread = rsqrtf(total(squares) / width + epsilon);
    if (index)
    {
#pragma unroll
        for (int k = 0; k < KNOWN; k++)
        {
            int i = threadIdx.x + k * blockDim.x;
            if (i < selected)
            {
                to[i] = narrow(scratch[features[k]] * spread * scales[k] + shifts[k]);
            }
        }

        for (int i = threadIdx.x + KNOWN * blockDim.x; i < selected; i += blockDim.x)
        {
            int feature = (int)index[i];
            to[i] = narrow(scratch[feature] * spread * wide(weight[feature]) + (bias ? wide(bias[feature]) : 0));
        }

        return;
    }

    for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
    {
        Pack<N> numbers = load<N>(from + i), scales = load<N>(weight + i), shifts = load<N>((bias ? bias : weight) + i);
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            float normed = (wide(numbers.at[n]) - mean) * spread * wide(scales.at[n]);
            numbers.at[n] = narrow(bias ? normed + wide(shifts.at[n]) : normed);
        }

        store<N>(to + i, numbers);
    }
}

EARLY_KERNEL(
    norm,
    (const number* x, const number* weight, const number* bias, const long long* index, number* result, int width, int selected, int centred, float epsilon),
    (x, weight, bias, index, result, width, selected, centred, epsilon))

// A stream with outputs added to its selected features. Needs shared memory for a row.
template <int N>
__device__ __forceinline__ void plus_at(const number* stream, const long long* index, const number* output, number* result, int width, int selected)
{
    int features[KNOWN];
    float known[KNOWN];
#pragma unroll
    for (int k = 0; k < KNOWN; k++)
    {
        int i = threadIdx.x + k * blockDim.x;
        features[k] = i < selected ? (int)index[i] : 0;
    }

    wait_for_previous();
    long long row = (long long)blockIdx.x * width;
    const number* added = output + (long long)blockIdx.x * selected;
#pragma unroll
    for (int k = 0; k < KNOWN; k++)
    {
        int i = threadIdx.x + k * blockDim.x;
        known[k] = i < selected ? wide(added[i]) : 0;
    }

    for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
    {
        Pack<N> numbers = load<N>(stream + row + i);
        Factors<N> sums;
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            sums.at[n] = wide(numbers.at[n]);
        }

        *(Factors<N>*)(scratch + i) = sums;
    }

    __syncthreads();
    // No feature is selected twice.
#pragma unroll
    for (int k = 0; k < KNOWN; k++)
    {
        if (threadIdx.x + k * blockDim.x < selected)
        {
            scratch[features[k]] += known[k];
        }
    }

    for (int i = threadIdx.x + KNOWN * blockDim.x; i < selected; i += blockDim.x)
    {
        scratch[index[i]] += wide(added[i]);
    }

    __syncthreads();
    for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
    {
        Factors<N> sums = *(Factors<N>*)(scratch + i);
        Pack<N> numbers;
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            numbers.at[n] = narrow(sums.at[n]);
        }

        store<N>(result + row + i, numbers);
    }
}

EARLY_KERNEL(
    plus_at,
    (const number* stream, const long long* index, const number* output, number* result, int width, int selected),
    (stream, index, output, result, width, selected))

// A sum.
template <int N>
__device__ __forceinline__ void plus(const number* x, const number* y, number* result, long long count)
{
    long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (i >= count)
    {
        return;
    }

    Pack<N> sums = load<N>(x + i), numbers = load<N>(y + i);
#pragma unroll
    for (int n = 0; n < N; n++)
    {
        sums.at[n] = narrow(wide(sums.at[n]) + wide(numbers.at[n]));
    }

    store<N>(result + i, sums);
}

KERNEL(plus, (const number* x, const number* y, number* result, long long count), (x, y, result, count))

// An activation.
#define EACH(name, formula)                                                                                     \
    template <int N>                                                                                            \
    __device__ __forceinline__ void name(const number* x, number* result, long long count)                      \
    {                                                                                                           \
        long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * N;                                   \
        if (i < count)                                                                                          \
        {                                                                                                       \
            Pack<N> numbers = load<N>(x + i);                                                                   \
            for (int n = 0; n < N; n++)                                                                         \
            {                                                                                                   \
                float v = wide(numbers.at[n]);                                                                  \
                numbers.at[n] = narrow(formula);                                                                \
            }                                                                                                   \
                                                                                                                \
            store<N>(result + i, numbers);                                                                      \
        }                                                                                                       \
    }                                                                                                           \
                                                                                                                \
    KERNEL(name, (const number* x, number* result, long long count), (x, result, count))

EACH(relu, v < 0 ? 0 : v)
EACH(gelu, 0.5f * v * (1 + erff(0.7071067811865476f * v)))
EACH(gelu_tanh, 0.5f * v * (1 + tanhf(0.7978845608028654f * (v + 0.044715f * v * v * v))))

// gate * sigmoid(gate) * up.
template <int N>
__device__ __forceinline__ void gated_silu(const number* gate, const number* up, number* result, long long count)
{
    long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (i >= count)
    {
        return;
    }

    Pack<N> numbers = load<N>(gate + i), factors = load<N>(up + i);
#pragma unroll
    for (int n = 0; n < N; n++)
    {
        float value = wide(numbers.at[n]);
        numbers.at[n] = narrow(value / (1 + __expf(-value)) * wide(factors.at[n]));
    }

    store<N>(result + i, numbers);
}

KERNEL(gated_silu, (const number* gate, const number* up, number* result, long long count), (gate, up, result, count))

// Rotary embedding of the pairs (i, i + half) of a position's heads; the result may be the input. A block has a position. The remaining
// features are copied.
template <int N>
__device__ __forceinline__ void rotate(
    const number* heads, const number* cosine, const number* sine, number* result, int length, int count, int size, int rotaryDim, int everyRow, float direction,
    long long fromRow, long long fromPosition, long long fromHead, long long toRow, long long toPosition, long long toHead)
{
    int row = blockIdx.x / length, position = blockIdx.x % length, half = rotaryDim / 2, pairs = half / N, rest = (size - rotaryDim) / N;
    const number* from = heads + row * fromRow + position * fromPosition;
    number* to = result + row * toRow + position * toPosition;
    long long angles = (long long)(everyRow ? blockIdx.x : position) * rotaryDim;
    for (int i = threadIdx.x; i < count * pairs; i += blockDim.x)
    {
        int head = i / pairs, feature = i % pairs * N;
        const number* read = from + head * fromHead + feature;
        number* written = to + head * toHead + feature;
        Pack<N> first = load<N>(read), second = load<N>(read + half);
        Pack<N> firstCosine = load<N>(cosine + angles + feature), secondCosine = load<N>(cosine + angles + half + feature);
        Pack<N> firstSine = load<N>(sine + angles + feature), secondSine = load<N>(sine + angles + half + feature);
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            float x = wide(first.at[n]), y = wide(second.at[n]);
            first.at[n] = narrow(x * wide(firstCosine.at[n]) + direction * y * wide(firstSine.at[n]));
            second.at[n] = narrow(y * wide(secondCosine.at[n]) + direction * x * wide(secondSine.at[n]));
        }

        store<N>(written, first);
        store<N>(written + half, second);
    }

    if (from == to)
    {
        return;
    }

    for (int i = threadIdx.x; i < count * rest; i += blockDim.x)
    {
        int head = i / rest, feature = rotaryDim + i % rest * N;
        store<N>(to + head * toHead + feature, load<N>(from + head * fromHead + feature));
    }
}

KERNEL(
    rotate,
    (const number* heads, const number* cosine, const number* sine, number* result, int length, int count, int size, int rotaryDim, int everyRow, float direction,
     long long fromRow, long long fromPosition, long long fromHead, long long toRow, long long toPosition, long long toHead),
    (heads, cosine, sine, result, length, count, size, rotaryDim, everyRow, direction, fromRow, fromPosition, fromHead, toRow, toPosition, toHead))
