// Projections of few tokens are bound by the bandwidth of reading each weight once, and by launches.

#if BITS == 16

#define MULTIPLY(sum, a0, a1, a2, a3, b0, b1)                                                                      \
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                                                   \
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1))

#define WARPS 8

// Inputs of a weight's row that a warp loads at once: four threads share a row, each with eight neighbouring numbers.
#define STEP 32

__device__ __forceinline__ uint4 eight(const number* row, int i, int width)
{
    return i < width ? *(const uint4*)(row + i) : make_uint4(0, 0, 0, 0);
}

// Several projections of up to 8 TILES tokens: a block has ROWS rows of the weights of all projections. Each warp sums over its part of the
// inputs, and the parts are added in order. The sum of a tensor core does not depend on the order of inputs: a thread's eight neighbours
// serve as two fragments. AHEAD steps of the weights are loaded at once, the first ones before the previous kernel has ended.
template <int ROWS, int TILES, int AHEAD>
__device__ __forceinline__ void few_rows(const number* x, int tokens, int width, const number* weight, const number* bias, number* result, int count, int block)
{
    // A tensor-core tile has 16 rows; with 8 the others are empty.
    constexpr int HEIGHT = (ROWS + 15) / 16;
    constexpr bool WHOLE = ROWS % 16 == 0;
    __shared__ float shares[WARPS][ROWS][8 * TILES + 1];
    let_next_begin();
    int first = block * ROWS;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, place = lane % 4 * 8;

    // After the last row or token the last one is loaded again, and not written.
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
                a[k][h][1] = WHOLE ? eight(rows[h][1], step + k * WARPS * STEP + place, width) : make_uint4(0, 0, 0, 0);
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
        // There was nothing to load, but results may still be read by the previous kernel.
        wait_for_previous();
    }

#pragma unroll
    for (int h = 0; h < HEIGHT; h++)
    {
#pragma unroll
        for (int t = 0; t < TILES; t++)
        {
#pragma unroll
            for (int n = 0; n < (WHOLE ? 4 : 2); n++)
            {
                shares[warp][16 * h + group + n / 2 * 8][8 * t + lane % 4 * 2 + n % 2] = sums[h][t][n];
            }
        }
    }

    __syncthreads();
    for (int i = threadIdx.x; i < ROWS * tokens; i += blockDim.x)
    {
        int row = i % ROWS, token = i / ROWS, output = first + row;
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

// By the most tokens and the rows of a block: fewer rows give each multiprocessor a block, more rows read the tokens less often.
#define FEW_ROWS(name, rows, tiles, ahead)                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) name(                                                                                                \
        const number* x, int tokens, int width, const number* weight0, const number* weight1, const number* weight2, const number* bias0,                         \
        const number* bias1, const number* bias2, number* result0, number* result1, number* result2, int outputs0, int outputs1, int outputs2)                    \
    {                                                                                                                                                             \
        int blocks0 = (outputs0 + rows - 1) / rows, before2 = blocks0 + (outputs1 + rows - 1) / rows;                                                             \
        bool first = blockIdx.x < blocks0, second = blockIdx.x < before2;                                                                                         \
        few_rows<rows, tiles, ahead>(                                                                                                                             \
            x, tokens, width, first ? weight0 : second ? weight1 : weight2, first ? bias0 : second ? bias1 : bias2, first ? result0 : second ? result1 : result2, \
            first ? outputs0 : second ? outputs1 : outputs2, blockIdx.x - (first ? 0 : second ? blocks0 : before2));                                              \
    }

FEW_ROWS(few_rows_8_by_8, 8, 1, 8)
FEW_ROWS(few_rows_8_by_16, 16, 1, 4)
FEW_ROWS(few_rows_16_by_16, 16, 2, 4)
FEW_ROWS(few_rows_16_by_32, 32, 2, 2)

#endif
