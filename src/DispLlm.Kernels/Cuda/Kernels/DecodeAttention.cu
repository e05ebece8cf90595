// Attention of a decode step to the key-value cache, with rotary embedding and cache update.

// Keys that a team of threads loads at once.
#define AT_ONCE 4

// A part of an online softmax: the maximum score, the sum of exponentials, and the weighted sum of values.
template <bool FAR>
__device__ __forceinline__ float of_part(const float* part)
{
    // Results of other blocks are not in this multiprocessor's L1 cache.
    return FAR ? __ldcg(part) : *part;
}

// The maximum score of all parts, the correction of each, and the total sum. All threads of a block call it.
template <bool FAR>
__device__ __forceinline__ void weigh(const float* parts, int count, int length, float* weights, float* most, float* whole)
{
    __shared__ float sums[256];
    if (threadIdx.x < count)
    {
        weights[threadIdx.x] = of_part<FAR>(parts + threadIdx.x * length);
        sums[threadIdx.x] = of_part<FAR>(parts + threadIdx.x * length + 1);
    }

    __syncthreads();
    *most = LOWEST;
    for (int p = 0; p < count; p++)
    {
        *most = fmaxf(*most, weights[p]);
    }

    // A part without visible positions has no weight, also where no part has any.
    float weight = threadIdx.x < count && weights[threadIdx.x] != LOWEST ? __expf(weights[threadIdx.x] - *most) : 0;
    __syncthreads();
    if (threadIdx.x < count)
    {
        weights[threadIdx.x] = weight;
    }

    __syncthreads();
    *whole = 0;
    for (int p = 0; p < count; p++)
    {
        *whole += sums[p] * weights[p];
    }
}

// A feature of the weighted sum over all parts.
template <bool FAR>
__device__ __forceinline__ float mixture_of(const float* parts, int count, int length, int feature, const float* weights)
{
    float mixture = 0;
#pragma unroll 8
    for (int p = 0; p < count; p++)
    {
        mixture += weights[p] * of_part<FAR>(parts + p * length + 2 + feature);
    }

    return mixture;
}

// The number of blocks of a head that have arrived. There is one stream, so no two launches use them at a time.
__device__ int arrived[1024];

// Begins a captured decode step: one block copies the input and writes the number of positions.
extern "C" __global__ void enter(const number* entering, number* input, int count, int* place, int seen)
{
    for (int i = threadIdx.x; i < count; i += blockDim.x)
    {
        input[i] = entering[i];
    }

    if (threadIdx.x == 0)
    {
        *place = seen;
    }
}

// Attention of a decode step on the output of projections: queries and keys are rotary-embedded, keys and values are written to the cache,
// and each head attends to all positions up to its own but the leading padding. A block has one head and one split of the positions; a team
// of threads has a key, each thread a vector of its features. The last block of a head to arrive combines its splits. The number of
// positions is given, or read from a place.
extern "C" __global__ void __launch_bounds__(256, 4) attend_one(
    const number* query, const number* key, const number* value, const number* cosine, const number* sine, const int* padding, const int* place, number* keys, number* values, number* result,
    float* parts, int heads, int shared, int size, int lanes, int rotaryDim, int given, long long keyRow, long long keyHead, float scale)
{
    let_next_begin();
    int head = blockIdx.x % heads, row = blockIdx.x / heads, group = head / shared, groups = heads / shared;
    int seen = place ? *place : given, stretch = (seen + gridDim.y - 1) / gridDim.y;
    int first = blockIdx.y * stretch, last = min(first + stretch, seen), hidden = padding ? padding[row] : 0;
    float* asked = scratch;                             // [size]
    number* headKeys = keys + row * keyRow + group * keyHead;
    number* headValues = values + row * keyRow + group * keyHead;
    long long angles = (long long)max(seen - 1 - hidden, 0) * rotaryDim;
    const number* own = key + ((long long)row * groups + group) * size;
    const number* ownValue = value + ((long long)row * groups + group) * size;

    // Where the vectors of a head are not a power of 2, a team's last threads have none.
    int lane = threadIdx.x % lanes, team = threadIdx.x / lanes, teams = blockDim.x / lanes;
    bool works = lane * PACKED < size;
    Pack<PACKED> heldKeys[AT_ONCE] = {}, heldValues[AT_ONCE] = {};

    // The cache is complete before the previous kernels end, except for this position.
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++)
    {
        long long place = (long long)min(first + team + k * teams, last - 1) * size + lane * PACKED;
        if (works && first < last)
        {
            heldKeys[k] = load<PACKED>(headKeys + place);
            heldValues[k] = load<PACKED>(headValues + place);
        }
    }

    wait_for_previous();
    for (int i = threadIdx.x; i < size; i += blockDim.x)
    {
        const number* from = query + (long long)blockIdx.x * size;
        bool rotates = i < rotaryDim;
        int other = i < rotaryDim / 2 ? i + rotaryDim / 2 : i - rotaryDim / 2;
        float c = rotates ? wide(cosine[angles + i]) : 1, s = rotates ? wide(sine[angles + i]) : 0;

        // Rounded as a tensor of rotary-embedded queries would be.
        asked[i] = wide(narrow(rotates ? wide(from[i]) * c + wide(from[other]) * s : wide(from[i]))) * scale;
        if (last == seen)
        {
            // Heads that share keys write the same numbers.
            headKeys[(long long)(seen - 1) * size + i] = narrow(rotates ? wide(own[i]) * c + wide(own[other]) * s : wide(own[i]));
            headValues[(long long)(seen - 1) * size + i] = ownValue[i];
        }
    }

    __syncthreads();
    Factors<PACKED> question = {};
    if (works)
    {
        question = factors<PACKED>(asked + lane * PACKED);
    }

    float highest = LOWEST, sum = 0, mixed[PACKED] = {};
    for (int begin = first; begin < last; begin += teams * AT_ONCE)
    {
        float scores[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
        {
            int position = min(begin + team + k * teams, last - 1);
            if (works && (begin > first || position == seen - 1))
            {
                heldKeys[k] = load<PACKED>(headKeys + (long long)position * size + lane * PACKED);
                heldValues[k] = load<PACKED>(headValues + (long long)position * size + lane * PACKED);
            }
        }

#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
        {
            scores[k] = 0;
#pragma unroll
            for (int n = 0; n < PACKED; n++)
            {
                scores[k] += wide(heldKeys[k].at[n]) * question.at[n];
            }
        }

        float before = highest;
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
        {
            for (int step = lanes / 2; step > 0; step /= 2)
            {
                scores[k] += __shfl_xor_sync(0xffffffff, scores[k], step);
            }

            int position = begin + team + k * teams;
            bool counts = position < last && (position >= hidden || position == seen - 1);
            scores[k] = counts ? scores[k] : LOWEST;
            highest = fmaxf(highest, scores[k]);
        }

        if (highest == LOWEST)
        {
            continue;
        }

        float shrunk = __expf(before - highest);
        sum *= shrunk;
#pragma unroll
        for (int n = 0; n < PACKED; n++)
        {
            mixed[n] *= shrunk;
        }

#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
        {
            float weight = __expf(scores[k] - highest);
            sum += weight;
#pragma unroll
            for (int n = 0; n < PACKED; n++)
            {
                mixed[n] += weight * wide(heldValues[k].at[n]);
            }
        }
    }

    // Each team's part: its maximum score, its sum of exponentials, and its weighted sum of values.
    int length = size + 2;
    float* mine = scratch + size + team * length;
    if (lane == 0)
    {
        mine[0] = highest;
        mine[1] = sum;
    }

    if (works)
    {
#pragma unroll
        for (int n = 0; n < PACKED; n++)
        {
            mine[2 + lane * PACKED + n] = mixed[n];
        }
    }

    __syncthreads();
    __shared__ float weights[256];
    float most, whole;
    weigh<false>(scratch + size, teams, length, weights, &most, &whole);
    float* part = parts + ((long long)blockIdx.x * gridDim.y + blockIdx.y) * length;
    for (int i = threadIdx.x; i < size; i += blockDim.x)
    {
        float mixture = mixture_of<false>(scratch + size, teams, length, i, weights);
        if (gridDim.y == 1)
        {
            result[(long long)blockIdx.x * size + i] = narrow(mixture / whole);
        }
        else
        {
            part[2 + i] = mixture;
        }
    }

    if (gridDim.y == 1)
    {
        return;
    }

    if (threadIdx.x == 0)
    {
        part[0] = most;
        part[1] = whole;
    }

    __shared__ bool puts_together;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
    {
        puts_together = atomicAdd(arrived + blockIdx.x, 1) == gridDim.y - 1;
    }

    __syncthreads();
    if (!puts_together)
    {
        return;
    }

    __threadfence();
    const float* all = parts + (long long)blockIdx.x * gridDim.y * length;
    weigh<true>(all, gridDim.y, length, weights, &most, &whole);
    for (int i = threadIdx.x; i < size; i += blockDim.x)
    {
        result[(long long)blockIdx.x * size + i] = narrow(mixture_of<true>(all, gridDim.y, length, i, weights) / whole);
    }

    // For the next launch.
    if (threadIdx.x == 0)
    {
        arrived[blockIdx.x] = 0;
    }
}
