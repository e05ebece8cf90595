// What stands between the matrix products of a pass, each in one pass over memory. A block of threads has one row, or a piece of it.

// A norm over a row of which the selected features are written, or all where there is no index. Needs room for a row where there is.
template <int N>
__device__ __forceinline__ void norm(
    const number* x, const number* weight, const number* bias, const long long* index, number* result, int width, int selected, int centred, float epsilon)
{
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
            *(Factors<N>*)(room + i) = distances;
        }
    }

    float spread = rsqrtf(total(squares) / width + epsilon);
    if (index)
    {
        for (int i = threadIdx.x; i < selected; i += blockDim.x)
        {
            int feature = (int)index[i];
            float normed = room[feature] * spread * wide(weight[feature]);
            to[i] = narrow(bias ? normed + wide(bias[feature]) : normed);
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

KERNEL(
    norm,
    (const number* x, const number* weight, const number* bias, const long long* index, number* result, int width, int selected, int centred, float epsilon),
    (x, weight, bias, index, result, width, selected, centred, epsilon))

// The gradient by the features of a root-mean-square norm: with g what came back times the weight, r (g - x r^2 mean(g x)).
template <int N>
__device__ __forceinline__ void norm_back(const number* x, const number* weight, const number* returned, number* result, int width, float epsilon)
{
    long long row = (long long)blockIdx.x * width;
    float squares = 0, products = 0;
    for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
    {
        Pack<N> numbers = load<N>(x + row + i), scales = load<N>(weight + i), slopes = load<N>(returned + row + i);
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            float value = wide(numbers.at[n]);
            squares += value * value;
            products += value * wide(scales.at[n]) * wide(slopes.at[n]);
        }
    }

    float spread = rsqrtf(total(squares) / width + epsilon), along = total(products) / width * spread * spread;
    for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
    {
        Pack<N> numbers = load<N>(x + row + i), scales = load<N>(weight + i), slopes = load<N>(returned + row + i);
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            numbers.at[n] = narrow(spread * (wide(scales.at[n]) * wide(slopes.at[n]) - wide(numbers.at[n]) * along));
        }

        store<N>(result + row + i, numbers);
    }
}

KERNEL(
    norm_back,
    (const number* x, const number* weight, const number* returned, number* result, int width, float epsilon),
    (x, weight, returned, result, width, epsilon))

// A stream with outputs added to its selected features. Needs room for a row.
template <int N>
__device__ __forceinline__ void plus_at(const number* stream, const long long* index, const number* output, number* result, int width, int selected)
{
    long long row = (long long)blockIdx.x * width;
    const number* added = output + (long long)blockIdx.x * selected;
    for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
    {
        Pack<N> numbers = load<N>(stream + row + i);
        Factors<N> sums;
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            sums.at[n] = wide(numbers.at[n]);
        }

        *(Factors<N>*)(room + i) = sums;
    }

    __syncthreads();
    for (int i = threadIdx.x; i < selected; i += blockDim.x)
    {
        // No feature is selected twice.
        room[index[i]] += wide(added[i]);
    }

    __syncthreads();
    for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
    {
        Factors<N> sums = *(Factors<N>*)(room + i);
        Pack<N> numbers;
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            numbers.at[n] = narrow(sums.at[n]);
        }

        store<N>(result + row + i, numbers);
    }
}

KERNEL(
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

// A function of each number.
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

// Features behind their gates. A thread has a pack: blocks go over rows, and over the pieces of a row.
template <int N>
__device__ __forceinline__ void gated(const number* x, const float* gates, number* result, int width)
{
    int i = (blockIdx.y * blockDim.x + threadIdx.x) * N;
    if (i >= width)
    {
        return;
    }

    long long place = (long long)blockIdx.x * width + i;
    Pack<N> numbers = load<N>(x + place);
    Factors<N> open = factors<N>(gates + i);
#pragma unroll
    for (int n = 0; n < N; n++)
    {
        numbers.at[n] = narrow(wide(numbers.at[n]) * open.at[n]);
    }

    store<N>(result + place, numbers);
}

KERNEL(gated, (const number* x, const float* gates, number* result, int width), (x, gates, result, width))

// A stream with features behind their gates added.
template <int N>
__device__ __forceinline__ void plus_gated(const number* stream, const number* features, const float* gates, number* result, int width)
{
    int i = (blockIdx.y * blockDim.x + threadIdx.x) * N;
    if (i >= width)
    {
        return;
    }

    long long place = (long long)blockIdx.x * width + i;
    Pack<N> numbers = load<N>(features + place), sums = load<N>(stream + place);
    Factors<N> open = factors<N>(gates + i);
#pragma unroll
    for (int n = 0; n < N; n++)
    {
        sums.at[n] = narrow(wide(sums.at[n]) + wide(numbers.at[n]) * open.at[n]);
    }

    store<N>(result + place, sums);
}

KERNEL(
    plus_gated,
    (const number* stream, const number* features, const float* gates, number* result, int width),
    (stream, features, gates, result, width))

// Through gates on the way back: what passed times what came back, summed over a block's rows, and what came back times the gates. Each block writes a row of sums. Needs room for a pack of
// factors a thread. Threads are some packs wide and some rows high.
template <int N>
__device__ __forceinline__ void gates_back(
    const number* features, const number* returned, const float* gates, number* passed, float* sums, long long rows, int rowsOfBlock, int width)
{
    int i = (blockIdx.x * blockDim.x + threadIdx.x) * N;
    long long first = (long long)blockIdx.y * rowsOfBlock, last = first + rowsOfBlock < rows ? first + rowsOfBlock : rows;
    Factors<N> sum;
#pragma unroll
    for (int n = 0; n < N; n++)
    {
        sum.at[n] = 0;
    }

    if (i < width)
    {
        Factors<N> open = factors<N>(gates + i);
        for (long long row = first + threadIdx.y; row < last; row += blockDim.y)
        {
            Pack<N> numbers = load<N>(features + row * width + i), slopes = load<N>(returned + row * width + i);
#pragma unroll
            for (int n = 0; n < N; n++)
            {
                float slope = wide(slopes.at[n]);
                sum.at[n] += wide(numbers.at[n]) * slope;
                slopes.at[n] = narrow(slope * open.at[n]);
            }

            store<N>(passed + row * width + i, slopes);
        }
    }

    Factors<N>* held = (Factors<N>*)room;
    held[threadIdx.y * blockDim.x + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && i < width)
    {
        for (int y = 1; y < blockDim.y; y++)
        {
#pragma unroll
            for (int n = 0; n < N; n++)
            {
                sum.at[n] += held[y * blockDim.x + threadIdx.x].at[n];
            }
        }

        *(Factors<N>*)(sums + (long long)blockIdx.y * width + i) = sum;
    }
}

KERNEL(
    gates_back,
    (const number* features, const number* returned, const float* gates, number* passed, float* sums, long long rows, int rowsOfBlock, int width),
    (features, returned, gates, passed, sums, rows, rowsOfBlock, width))

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

// The gradients of that by both.
template <int N>
__device__ __forceinline__ void gated_silu_back(
    const number* gate, const number* up, const number* returned, number* gateSlope, number* upSlope, long long count)
{
    long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (i >= count)
    {
        return;
    }

    Pack<N> numbers = load<N>(gate + i), factors = load<N>(up + i), slopes = load<N>(returned + i);
#pragma unroll
    for (int n = 0; n < N; n++)
    {
        float value = wide(numbers.at[n]), slope = wide(slopes.at[n]), open = 1 / (1 + __expf(-value)), silu = value * open;
        numbers.at[n] = narrow(slope * wide(factors.at[n]) * (open + silu * (1 - open)));
        factors.at[n] = narrow(slope * silu);
    }

    store<N>(gateSlope + i, numbers);
    store<N>(upSlope + i, factors);
}

KERNEL(
    gated_silu_back,
    (const number* gate, const number* up, const number* returned, number* gateSlope, number* upSlope, long long count),
    (gate, up, returned, gateSlope, upSlope, count))

// Turns the pairs (i, i + half) of a position's heads, from where they lie to where they are written, which may be the same: a block has a position. Features behind those that turn stay.
template <int N>
__device__ __forceinline__ void rotate(
    const number* heads, const number* cosine, const number* sine, number* result, int length, int count, int size, int turning, int everyRow, float direction,
    long long fromRow, long long fromPosition, long long fromHead, long long toRow, long long toPosition, long long toHead)
{
    int row = blockIdx.x / length, position = blockIdx.x % length, half = turning / 2, pairs = half / N, rest = (size - turning) / N;
    const number* from = heads + row * fromRow + position * fromPosition;
    number* to = result + row * toRow + position * toPosition;
    long long angles = (long long)(everyRow ? blockIdx.x : position) * turning;
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
        int head = i / rest, feature = turning + i % rest * N;
        store<N>(to + head * toHead + feature, load<N>(from + head * fromHead + feature));
    }
}

KERNEL(
    rotate,
    (const number* heads, const number* cosine, const number* sine, number* result, int length, int count, int size, int turning, int everyRow, float direction,
     long long fromRow, long long fromPosition, long long fromHead, long long toRow, long long toPosition, long long toHead),
    (heads, cosine, sine, result, length, count, size, turning, everyRow, direction, fromRow, fromPosition, fromHead, toRow, toPosition, toHead))

// The cross-entropy of a position's logits in nats, and its gradient by them times a scale.
template <int N>
__device__ __forceinline__ void cross_entropy(const number* logits, const long long* targets, number* gradient, float* losses, int width, float scale)
{
    long long row = (long long)blockIdx.x * width;
    int target = (int)targets[blockIdx.x];
    float highest = LOWEST, sum = 0;
    for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
    {
        Pack<N> numbers = load<N>(logits + row + i);
        float before = highest;
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            highest = fmaxf(highest, wide(numbers.at[n]));
        }

        sum *= __expf(before - highest);
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            sum += __expf(wide(numbers.at[n]) - highest);
        }
    }

    __shared__ float maxima[32];
    float most = highest;
    for (int step = 16; step > 0; step /= 2)
    {
        most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, step));
    }

    if (threadIdx.x % 32 == 0)
    {
        maxima[threadIdx.x / 32] = most;
    }

    __syncthreads();
    most = threadIdx.x % 32 < blockDim.x / 32 ? maxima[threadIdx.x % 32] : LOWEST;
    for (int step = 16; step > 0; step /= 2)
    {
        most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, step));
    }

    // A thread that had no number has summed nothing.
    sum = total(sum == 0 ? 0 : sum * __expf(highest - most));
    float logarithm = most + logf(sum);
    if (threadIdx.x == 0)
    {
        losses[blockIdx.x] = logarithm - wide(logits[row + target]);
    }

    for (int i = threadIdx.x * N; i < width; i += blockDim.x * N)
    {
        Pack<N> numbers = load<N>(logits + row + i);
#pragma unroll
        for (int n = 0; n < N; n++)
        {
            numbers.at[n] = narrow((__expf(wide(numbers.at[n]) - logarithm) - (i + n == target ? 1 : 0)) * scale);
        }

        store<N>(gradient + row + i, numbers);
    }
}

KERNEL(
    cross_entropy,
    (const number* logits, const long long* targets, number* gradient, float* losses, int width, float scale),
    (logits, targets, gradient, losses, width, scale))
