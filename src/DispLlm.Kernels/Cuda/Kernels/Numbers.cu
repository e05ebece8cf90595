// What every kernel here begins with. It is compiled once for each type of numbers: BITS is 16 for bfloat16, 32 for float32.
// Everything is computed in float32 and rounded once.

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

// Numbers that are read and written at once: PACKED of them are 16 bytes, where rows begin at multiples of that; else one.
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

// Factors of neighbouring features, in float32.
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

// Room of a block, as much as its launch asks for.
extern __shared__ float4 room4[];

#define room ((float*)room4)

// A sum over a block's threads, known to each of them. Whole warps only.
__device__ float total(float sum)
{
    __shared__ float sums[32];
    for (int step = 16; step > 0; step /= 2)
    {
        sum += __shfl_xor_sync(0xffffffff, sum, step);
    }

    // Of an earlier sum, some may still be read.
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

// In a recorded pass a kernel may begin before the one in front of it has ended: it lets the next one begin as well, reads what is the same in every pass, and waits.
__device__ __forceinline__ void let_next_begin()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// What kernels in front have written may be read from here on, and written over.
__device__ __forceinline__ void wait_for_previous()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// A kernel for rows that begin at multiples of 16 bytes, and one for all others.
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

// The same for a kernel that has something to do before it waits.
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
