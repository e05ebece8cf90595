// Passes of few tokens read every weight once and compute little with it: what counts is that memory is never idle, and that no operator is waited for.

#if BITS == 16

#define MULTIPLY(sum, a0, a1, a2, a3, b0, b1)                                                                      \
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                                                   \
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1))

#define WARPS 8

// Inputs of a weight's row that a warp reads at once: four threads have a row, each eight neighbouring numbers of it.
#define STEP 32

__device__ __forceinline__ uint4 eight(const number* row, int i, int width)
{
    return i < width ? *(const uint4*)(row + i) : make_uint4(0, 0, 0, 0);
}

// Several projections of up to 8 TILES tokens: the rows of the weights follow each other, 16 HEIGHT of them to a block. Each warp has its share of the inputs, and the shares are added in
// their order. A matrix unit sums over inputs in whatever order they come: a thread's eight neighbours serve as two of its fragments. AHEAD steps of the weights are asked for at once, the
// first ones while kernels in front still compute what enters.
template <int HEIGHT, int TILES, int AHEAD>
__device__ __forceinline__ void few_rows(const number* x, int tokens, int width, const number* weight, const number* bias, number* result, int count, int block)
{
    __shared__ float shares[WARPS][16 * HEIGHT][8 * TILES + 1];
    let_next_begin();
    int first = block * 16 * HEIGHT;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, place = lane % 4 * 8;

    // Behind the last row or token the last one is read again, and not written.
    const number* rows[HEIGHT][2];
    const number* columns[TILES];
#pragma unroll
    for (int h = 0; h < HEIGHT; h++)
    {
        rows[h][0] = weight + (long long)min(first + 16 * h + group, count - 1) * width;
        rows[h][1] = weight + (long long)min(first + 16 * h + group + 8, count - 1) * width;
    }

#pragma unroll
    for (int t = 0; t < TILES; t++)
    {
        columns[t] = x + (long long)min(8 * t + group, tokens - 1) * width;
    }

    float sums[HEIGHT][TILES][4] = {};
    bool waits = true;
    for (int step = warp * STEP; step < width; step += AHEAD * WARPS * STEP)
    {
        uint4 a[AHEAD][HEIGHT][2], b[AHEAD][TILES];
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
        {
#pragma unroll
            for (int h = 0; h < HEIGHT; h++)
            {
                a[k][h][0] = eight(rows[h][0], step + k * WARPS * STEP + place, width);
                a[k][h][1] = eight(rows[h][1], step + k * WARPS * STEP + place, width);
            }
        }

        if (waits)
        {
            wait_for_previous();
            waits = false;
        }

#pragma unroll
        for (int k = 0; k < AHEAD; k++)
        {
#pragma unroll
            for (int t = 0; t < TILES; t++)
            {
                b[k][t] = eight(columns[t], step + k * WARPS * STEP + place, width);
            }
        }

#pragma unroll
        for (int k = 0; k < AHEAD; k++)
        {
#pragma unroll
            for (int h = 0; h < HEIGHT; h++)
            {
#pragma unroll
                for (int t = 0; t < TILES; t++)
                {
                    MULTIPLY(sums[h][t], a[k][h][0].x, a[k][h][1].x, a[k][h][0].y, a[k][h][1].y, b[k][t].x, b[k][t].y);
                    MULTIPLY(sums[h][t], a[k][h][0].z, a[k][h][1].z, a[k][h][0].w, a[k][h][1].w, b[k][t].z, b[k][t].w);
                }
            }
        }
    }

    if (waits)
    {
        // There was nothing to read, but results may be written over.
        wait_for_previous();
    }

#pragma unroll
    for (int h = 0; h < HEIGHT; h++)
    {
#pragma unroll
        for (int t = 0; t < TILES; t++)
        {
#pragma unroll
            for (int n = 0; n < 4; n++)
            {
                shares[warp][16 * h + group + n / 2 * 8][8 * t + lane % 4 * 2 + n % 2] = sums[h][t][n];
            }
        }
    }

    __syncthreads();
    for (int i = threadIdx.x; i < 16 * HEIGHT * tokens; i += blockDim.x)
    {
        int row = i % (16 * HEIGHT), token = i / (16 * HEIGHT), output = first + row;
        if (output < count)
        {
            float sum = bias ? wide(bias[output]) : 0;
            for (int w = 0; w < WARPS; w++)
            {
                sum += shares[w][row][token];
            }

            result[(long long)token * count + output] = narrow(sum);
        }
    }
}

#define FEW_ROWS(name, height, tiles, ahead)                                                                                                                             \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) name(                                                                                                \
        const number* x, int tokens, int width, const number* weight0, const number* weight1, const number* weight2, const number* bias0,                         \
        const number* bias1, const number* bias2, number* result0, number* result1, number* result2, int outputs0, int outputs1, int outputs2)                    \
    {                                                                                                                                                             \
        int blocks0 = (outputs0 + 16 * height - 1) / (16 * height), before2 = blocks0 + (outputs1 + 16 * height - 1) / (16 * height);                             \
        bool first = blockIdx.x < blocks0, second = blockIdx.x < before2;                                                                                         \
        few_rows<height, tiles, ahead>(                                                                                                                                  \
            x, tokens, width, first ? weight0 : second ? weight1 : weight2, first ? bias0 : second ? bias1 : bias2, first ? result0 : second ? result1 : result2, \
            first ? outputs0 : second ? outputs1 : outputs2, blockIdx.x - (first ? 0 : second ? blocks0 : before2));                                              \
    }

FEW_ROWS(few_rows_8, 1, 1, 4)
FEW_ROWS(few_rows_16, 1, 2, 4)

// Where there are so many rows that processors have enough of them twice as high: what enters is read half as often.
FEW_ROWS(few_rows_16_high, 2, 2, 2)

#endif

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
    wait_for_previous();
    int head = blockIdx.x % heads, row = blockIdx.x / heads, group = head / shared, groups = heads / shared;
    int seen = place ? *place : given, stretch = (seen + gridDim.y - 1) / gridDim.y;
    int first = blockIdx.y * stretch, last = min(first + stretch, seen), hidden = padding ? padding[row] : 0;
    float* asked = room;                             // [size]
    number* headKeys = keys + row * keyRow + group * keyHead;
    number* headValues = values + row * keyRow + group * keyHead;
    long long angles = (long long)max(seen - 1 - hidden, 0) * turning;
    const number* cosines = cosine + angles;
    const number* sines = sine + angles;
    const number* own = key + ((long long)row * groups + group) * size;
    const number* ownValue = value + ((long long)row * groups + group) * size;
    for (int i = threadIdx.x; i < size; i += blockDim.x)
    {
        const number* from = query + (long long)blockIdx.x * size;
        int other = i < turning / 2 ? i + turning / 2 : i - turning / 2;
        float turned = i < turning ? wide(from[i]) * wide(cosines[i]) + wide(from[other]) * wide(sines[i]) : wide(from[i]);

        // Rounded, as a tensor of turned queries would be.
        asked[i] = wide(narrow(turned)) * scale;
        if (last == seen)
        {
            // Heads that share keys write the same numbers.
            headKeys[(long long)(seen - 1) * size + i] =
                narrow(i < turning ? wide(own[i]) * wide(cosines[i]) + wide(own[other]) * wide(sines[i]) : wide(own[i]));
            headValues[(long long)(seen - 1) * size + i] = ownValue[i];
        }
    }

    __syncthreads();

    // Where a head's packs are no power of 2, a team's last threads have none.
    int lane = threadIdx.x % lanes, team = threadIdx.x / lanes, teams = blockDim.x / lanes;
    bool works = lane * PACKED < size;
    Factors<PACKED> question = {};
    if (works)
    {
        question = factors<PACKED>(asked + lane * PACKED);
    }

    float highest = LOWEST, sum = 0, mixed[PACKED] = {};
    for (int begin = first; begin < last; begin += teams * AT_ONCE)
    {
        float scores[AT_ONCE];
        Pack<PACKED> held[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
        {
            long long place = (long long)min(begin + team + k * teams, last - 1) * size + lane * PACKED;
            Pack<PACKED> numbers = {};
            held[k] = numbers;
            if (works)
            {
                numbers = load<PACKED>(headKeys + place);
                held[k] = load<PACKED>(headValues + place);
            }

            scores[k] = 0;
#pragma unroll
            for (int n = 0; n < PACKED; n++)
            {
                scores[k] += wide(numbers.at[n]) * question.at[n];
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
                mixed[n] += weight * wide(held[k].at[n]);
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
