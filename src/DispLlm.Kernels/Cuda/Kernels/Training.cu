// The further operations of a learning step, each in one pass over memory: gates, backward passes and the loss.

// Features times gates. A thread has a vector; the grid is rows by parts of a row.
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

// A stream plus features times gates.
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

// The gradient of the input of an RMS norm: with g the incoming gradient times the weight, r (g - x r^2 mean(g x)).
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

// The backward pass of gates: features times incoming gradients, summed over a block's rows, and incoming gradients times gates. Each block
// writes a row of sums. Needs shared memory for a vector of float32 per thread. A block is some vectors wide and some rows high.
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

    Factors<N>* held = (Factors<N>*)scratch;
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

// The gradients of gate and up of gate * sigmoid(gate) * up.
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

// The cross-entropy of a position's logits in nats, and its gradient times a scale.
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

    // A thread without numbers has no sum.
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
