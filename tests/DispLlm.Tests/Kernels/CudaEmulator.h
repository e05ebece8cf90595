// GPU kernels on the CPU, one block after the other: each thread of a block is a fiber, which runs until all have to wait for each other.
// Not fast, but every thread is there, and every barrier.
#pragma once
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

struct dim3
{
    unsigned x = 1, y = 1;
};

struct alignas(16) float4
{
    float x, y, z, w;
};

struct alignas(16) uint4
{
    unsigned x, y, z, w;
};

static uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return { x, y, z, w }; }

#define __device__
#define __global__
#define __forceinline__
#define __launch_bounds__(...)
#define __shared__ static
#define __expf expf

using std::max;
using std::min;

static dim3 threadIdx, blockIdx, blockDim, gridDim;

// As much scratch as a block may ask for.
static float4 scratch4[16384 / 4 + 4096];

struct Fiber
{
    jmp_buf place;
    ucontext_t beginning;
    std::vector<char> stack = std::vector<char>(1 << 16);
    bool begun, done;
    dim3 id;
};

static std::vector<Fiber*> fibers;
static jmp_buf turn;
static ucontext_t outside;
static int current, waiting, passed;
static std::function<void()> body;

static int lane() { return threadIdx.x + threadIdx.y * blockDim.x; }

static void give_way()
{
    int mine = current;
    if (_setjmp(fibers[mine]->place) == 0)
    {
        _longjmp(turn, 1);
    }

    threadIdx = fibers[mine]->id;
}

static void __syncthreads()
{
    int before = passed;
    if (++waiting == (int)(blockDim.x * blockDim.y))
    {
        waiting = 0;
        passed++;
    }

    while (passed == before)
    {
        give_way();
    }
}

// Within a warp all threads come to the same exchange before any goes on: one turn of all fibers.
static float exchanged[1024];

static float __shfl_xor_sync(unsigned, float value, int step)
{
    int mine = lane();
    exchanged[mine] = value;
    give_way();
    float other = exchanged[mine ^ step];
    give_way();
    return other;
}

static unsigned fragments[1024][6];

static float half_of(unsigned pair, int which)
{
    unsigned bits = which ? pair & 0xffff0000 : pair << 16;
    float number;
    memcpy(&number, &bits, 4);
    return number;
}

// mma.sync.m16n8k16 with its fragments as the instruction lays them out.
static void multiply(float* sum, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1)
{
    int mine = lane(), first = mine & ~31, group = mine % 32 / 4, place = mine % 4;
    unsigned own[6] = { a0, a1, a2, a3, b0, b1 };
    memcpy(fragments[mine], own, sizeof own);
    give_way();
    for (int n = 0; n < 4; n++)
    {
        int row = group + n / 2 * 8, column = 2 * place + n % 2;
        for (int k = 0; k < 16; k++)
        {
            unsigned a = fragments[first + row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], b = fragments[first + column * 4 + k % 8 / 2][4 + k / 8];
            sum[n] += half_of(a, k % 2) * half_of(b, k % 2);
        }
    }

    give_way();
}

static void __threadfence() {}

static float __ldcg(const float* from) { return *from; }

static int atomicAdd(int* sum, int number)
{
    int before = *sum;
    *sum += number;
    return before;
}

static float __uint_as_float(unsigned bits)
{
    float number;
    memcpy(&number, &bits, 4);
    return number;
}

static float __int_as_float(int bits) { return __uint_as_float((unsigned)bits); }

static float rsqrtf(float x) { return 1 / sqrtf(x); }

static unsigned short rounded_to_bfloat16(float x)
{
    unsigned bits;
    memcpy(&bits, &x, 4);
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void begin()
{
    body();
    fibers[current]->done = true;
    _longjmp(turn, 1);
}

static void launch(dim3 blocks, dim3 threads, std::function<void()> kernel)
{
    gridDim = blocks;
    blockDim = threads;
    body = kernel;
    int count = threads.x * threads.y;
    while ((int)fibers.size() < count)
    {
        fibers.push_back(new Fiber());
    }

    for (unsigned block = 0; block < blocks.x * blocks.y; block++)
    {
        blockIdx = { block % blocks.x, block / blocks.x };
        waiting = 0;

        // What nobody wrote is not a number.
        std::fill((float*)scratch4, (float*)(scratch4 + sizeof scratch4 / sizeof *scratch4), NAN);
        for (int i = 0; i < count; i++)
        {
            fibers[i]->begun = fibers[i]->done = false;
            fibers[i]->id = { i % threads.x, i / threads.x };
        }

        for (bool any = true; any;)
        {
            any = false;
            for (int i = 0; i < count; i++)
            {
                // Seen from the turn, not from a register that the turn forgets.
                current = i;
                if (fibers[current]->done)
                {
                    continue;
                }

                any = true;
                threadIdx = fibers[current]->id;
                if (_setjmp(turn) == 0)
                {
                    if (fibers[current]->begun)
                    {
                        _longjmp(fibers[current]->place, 1);
                    }

                    fibers[current]->begun = true;
                    getcontext(&fibers[current]->beginning);
                    fibers[current]->beginning.uc_stack.ss_sp = fibers[current]->stack.data();
                    fibers[current]->beginning.uc_stack.ss_size = fibers[current]->stack.size();
                    fibers[current]->beginning.uc_link = &outside;
                    makecontext(&fibers[current]->beginning, begin, 0);
                    setcontext(&fibers[current]->beginning);
                }

                i = current;
            }
        }
    }
}

template <class... Arguments, size_t... Index>
static void call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<Index...>)
{
    kernel(*(Arguments*)arguments[Index]...);
}

template <class... Arguments>
static void launch(void (*kernel)(Arguments...), void** arguments, dim3 blocks, dim3 threads)
{
    launch(blocks, threads, [=] { call(kernel, arguments, std::index_sequence_for<Arguments...>()); });
}

#define ENTRY(name)                                                                                                             \
    extern "C" void run_##name(void** arguments, unsigned blocksX, unsigned blocksY, unsigned threadsX, unsigned threadsY)       \
    {                                                                                                                            \
        launch(name, arguments, { blocksX, blocksY }, { threadsX, threadsY });                                                   \
    }
