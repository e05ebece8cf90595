// Types and macros of all kernels, compiled once per type: BITS is 16 for bfloat16, 32 for float32.
// Kernels compute in float32 and round once.

#if BITS == 16
typedef unsigned short number;
#define PACKED 8

__device__ __forceinline__ float wide(number x) { return __uint_as_float((unsigned)x << 16); }

__device__ __forceinline__ number narrow(float x)
{
    number rounded;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded) : "f"(x));
    return rounded;
}
#else
typedef float number;
#define PACKED 4

__device__ __forceinline__ float wide(number x) { return x; }

__device__ __forceinline__ number narrow(float x) { return x; }
#endif

#define LOWEST __int_as_float(0xff800000)

// Numbers that are loaded and stored at once: PACKED of them (16 bytes) where rows are aligned to that, else one.
template <int N>
struct alignas(N * sizeof(number)) Pack
{
    number at[N];
};

template <int N>
__device__ __forceinline__ Pack<N> load(const number* from)
{
    return *(const Pack<N>*)from;
}

template <int N>
__device__ __forceinline__ void store(number* to, const Pack<N>& numbers)
{
    *(Pack<N>*)to = numbers;
}

// Neighbouring numbers in float32.
template <int N>
struct alignas(N == 1 ? 4 : 16) Factors
{
    float at[N];
};

template <int N>
__device__ __forceinline__ Factors<N> factors(const float* from)
{
    return *(const Factors<N>*)from;
}

// Dynamic shared memory.
extern __shared__ float4 scratch4[];

#define scratch ((float*)scratch4)

// The sum over the threads of a block, returned to all of them. Whole warps only.
__device__ float total(float sum)
{
    __shared__ float sums[32];
    for (int step = 16; step > 0; step /= 2)
    {
        sum += __shfl_xor_sync(0xffffffff, sum, step);
    }

    // Threads may still read an earlier sum.
    __syncthreads();
    if (threadIdx.x % 32 == 0)
    {
        sums[threadIdx.x / 32] = sum;
    }

    __syncthreads();
    sum = threadIdx.x % 32 < blockDim.x / 32 ? sums[threadIdx.x % 32] : 0;
    for (int step = 16; step > 0; step /= 2)
    {
        sum += __shfl_xor_sync(0xffffffff, sum, step);
    }

    return sum;
}

// Programmatic dependent launch: in a captured graph a kernel may begin before the previous one has ended. It lets the next one begin,
// loads what no kernel writes, and waits.
__device__ __forceinline__ void let_next_begin()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// After it the results of previous kernels may be read and overwritten.
__device__ __forceinline__ void wait_for_previous()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// A kernel for rows aligned to 16 bytes, and one for all others.
#define KERNEL(name, parameters, arguments)             \
    extern "C" __global__ void name##_packed parameters \
    {                                                   \
        let_next_begin();                               \
        wait_for_previous();                            \
        name<PACKED> arguments;                         \
    }                                                   \
    extern "C" __global__ void name##_single parameters \
    {                                                   \
        let_next_begin();                               \
        wait_for_previous();                            \
        name<1> arguments;                              \
    }

// The same for a kernel that loads something before it waits.
#define EARLY_KERNEL(name, parameters, arguments)       \
    extern "C" __global__ void name##_packed parameters \
    {                                                   \
        let_next_begin();                               \
        name<PACKED> arguments;                         \
    }                                                   \
    extern "C" __global__ void name##_single parameters \
    {                                                   \
        let_next_begin();                               \
        name<1> arguments;                              \
    }
