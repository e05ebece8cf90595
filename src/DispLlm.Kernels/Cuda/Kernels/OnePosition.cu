// Attention of one position to what a cache holds, with all that stands around it.

// Keys that a group of threads has in flight.
#define AT_ONCE 4

// Parts of one mixture: each is its highest score, the sum of its weights beside that one's, and their mixture of values.
template <bool FAR>
__device__ __forceinline__ float of_part(const float* part)
{
    // What other blocks wrote is not in this processor's cache.
    return FAR ? __ldcg(part) : *part;
}

// The highest score of all parts, what each counts beside it, and the sum. Every thread of a block comes here.
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

    // A part that sees nothing counts nothing, also where no part does.
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

// A feature of the mixture of all parts.
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

// How many blocks of a head have come. One stream of work has a GPU: no two launches use them at a time.
__device__ int arrived[1024];

// Begins a recorded pass: one block puts down what enters, and says how many positions are seen.
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

// Attention of one position, whose queries, keys and values are as projections write them: it is turned, put into the cache, and attends to everything there up to itself, except for padding
// in front. A block has one head and one stretch of the positions; a group of threads has a key, each thread a pack of its features. Where a head has several stretches, the last block to come
// puts them together. How many positions are seen is a number, or lies at a place.
extern "C" __global__ void __launch_bounds__(256, 4) attend_one(
    const number* query, const number* key, const number* value, const number* cosine, const number* sine, const int* padding, const int* place, number* keys, number* values, number* result,
    float* parts, int heads, int shared, int size, int lanes, int turning, int given, long long keyRow, long long keyHead, float scale)
{
    let_next_begin();
    int head = blockIdx.x % heads, row = blockIdx.x / heads, group = head / shared, groups = heads / shared;
    int seen = place ? *place : given, stretch = (seen + gridDim.y - 1) / gridDim.y;
    int first = blockIdx.y * stretch, last = min(first + stretch, seen), hidden = padding ? padding[row] : 0;
    float* asked = room;                             // [size]
    number* headKeys = keys + row * keyRow + group * keyHead;
    number* headValues = values + row * keyRow + group * keyHead;
    long long angles = (long long)max(seen - 1 - hidden, 0) * turning;
    const number* own = key + ((long long)row * groups + group) * size;
    const number* ownValue = value + ((long long)row * groups + group) * size;

    // Where a head's packs are no power of 2, a team's last threads have none.
    int lane = threadIdx.x % lanes, team = threadIdx.x / lanes, teams = blockDim.x / lanes;
    bool works = lane * PACKED < size;
    Pack<PACKED> heldKeys[AT_ONCE] = {}, heldValues[AT_ONCE] = {};

    // What the cache holds is there before any kernel in front has ended, all but this position.
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
        bool turns = i < turning;
        int other = i < turning / 2 ? i + turning / 2 : i - turning / 2;
        float c = turns ? wide(cosine[angles + i]) : 1, s = turns ? wide(sine[angles + i]) : 0;

        // Rounded, as a tensor of turned queries would be.
        asked[i] = wide(narrow(turns ? wide(from[i]) * c + wide(from[other]) * s : wide(from[i]))) * scale;
        if (last == seen)
        {
            // Heads that share keys write the same numbers.
            headKeys[(long long)(seen - 1) * size + i] = narrow(turns ? wide(own[i]) * c + wide(own[other]) * s : wide(own[i]));
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

    // Each team's part: its highest score, its sum, and its mixture.
    int length = size + 2;
    float* mine = room + size + team * length;
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
    weigh<false>(room + size, teams, length, weights, &most, &whole);
    float* part = parts + ((long long)blockIdx.x * gridDim.y + blockIdx.y) * length;
    for (int i = threadIdx.x; i < size; i += blockDim.x)
    {
        float mixture = mixture_of<false>(room + size, teams, length, i, weights);
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

    // For the next one.
    if (threadIdx.x == 0)
    {
        arrived[blockIdx.x] = 0;
    }
}
