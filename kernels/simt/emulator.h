// The CUDA words for a compiler that knows none of them: types, built-in variables, barriers, warp
// operations, atomics, mathematics. Included by simt.cuh; kernels include that.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <string_view>
#include <type_traits>

#include "kernels/base/device.h"

// A kernel is not `inline` (nvcc warns) and is defined in headers: internal linkage.
#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

// --- Vector types and the built-in variables -----------------------------------------------------

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}

// Of the running thread; the scheduler sets them at every switch. One launch runs at a time.
inline uint3 threadIdx{}, blockIdx{};
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace mono::simt {

// Where in the source a thread waits.
struct Site {
  const char* file;
  int line;
};

using Mask = uint32_t;

// --- What the words below are made of (emulator.cpp) ---------------------------------------------

void block_barrier(Site site);
// How many of the block's threads come with a true predicate.
int block_barrier_count(bool predicate, Site site);

// Memory of the block: one object a key, filled with 0xFF (NaN) for every block, fenced.
void* shared_object(const void* key, size_t bytes, size_t alignment, Site site);
void* dynamic_shared_object();

// The lanes of `mask` meet; each brings `in` and a place for its result. The last one to arrive
// calls op(ins, outs, mask), which reads and writes only what belongs to lanes of the mask, and all
// go on. What it exchanges are registers: op is not instrumented, and as in CUDA no memory is
// ordered but by __syncwarp.
using LaneInputs = std::array<const void*, 32>;
using LaneOutputs = std::array<void*, 32>;
using LaneOperation = void (*)(const LaneInputs&, const LaneOutputs&, Mask);
enum class Meet {
  registers,
  registers_aligned,  // all lanes must come from one place in the source
  memory              // orders the lanes' accesses to memory
};
#define MONO_LANE_OPERATION __attribute__((no_sanitize("thread")))
void warp_collective(const char* kind, Mask mask, const void* in, void* out, LaneOperation op,
                     Site site, Meet meet = Meet::registers);
int lane_index();

// Stops the launch: an Error(device) with kernel, block, thread and site reaches whoever
// synchronises.
[[noreturn]] void fault(Site site, const char* format, ...) __attribute__((format(printf, 2, 3)));

// cp.async (instructions.cuh).
void copy_async(void* shared, const void* global, int bytes, int zero_fill_from, Site site);
void copy_async_commit(Site site);
void copy_async_wait(int pending_groups);

// Whether [p, p + bytes) lies in the running block's shared memory.
bool is_shared(const void* p, size_t bytes);

void enqueue_launch(Stream stream, std::string_view kernel, dim3 grid, dim3 block,
                    size_t dynamic_shared, std::function<void()> body);

// A pointer that a kernel is given is null or points to device memory; else Error(device). What
// lies in structs is not seen.
void check_pointer(std::string_view kernel, int argument, const void* p);
template <class T>
void check_argument(std::string_view kernel, int argument, const T& value) {
  if constexpr (std::is_pointer_v<T>) check_pointer(kernel, argument, value);
}

// --- The schedule --------------------------------------------------------------------------------

// In which of the orders that CUDA allows things happen. Every kernel test runs under all of
// test_schedules(); elsewhere MONO_SIMT_SCHEDULE=forward|reverse|seed<N> chooses.
struct Schedule {
  enum class Order { forward, reverse, shuffled };
  Order order = Order::forward;  // of threads in a block and of blocks in a grid
  uint64_t seed = 0;             // of shuffled
  bool copies_at_issue = false;  // cp.async: at once, or as late as the wait allows
  bool streams_late = true;      // a stream runs when somebody waits for it, or at once
  const char* name = "forward";
};
const Schedule& schedule();
void set_schedule(const Schedule& schedule);  // no stream may have work waiting
std::array<Schedule, 4> test_schedules();

// Fibers switched so far, for the speed figures in the README.
uint64_t switches();

// --- Shuffles ------------------------------------------------------------------------------------

template <class T>
struct ShuffleInput {
  T value;
  int source;  // lane
  Site site;
};

template <class T>
T shuffle(const char* kind, Mask mask, T value, int source, Site site) {
  static_assert(std::is_trivially_copyable_v<T>);
  const ShuffleInput<T> in{value, source, site};
  T out;
  warp_collective(
      kind, mask, &in, &out,
      [](const LaneInputs& ins, const LaneOutputs& outs, Mask lanes) MONO_LANE_OPERATION {
        for (int lane = 0; lane < 32; ++lane) {
          if (!(lanes >> lane & 1)) continue;
          const auto& mine = *static_cast<const ShuffleInput<T>*>(ins[lane]);
          if (!(lanes >> mine.source & 1))
            fault(mine.site, "shuffle: lane %d reads lane %d, which is not in the mask 0x%08x",
                  lane, mine.source, lanes);
          *static_cast<T*>(outs[lane]) =
              static_cast<const ShuffleInput<T>*>(ins[mine.source])->value;
        }
      },
      site);
  return out;
}

// A reduction of one value a lane to one result for all lanes of the mask.
template <class In, class Out, class F>
Out reduce_lanes(const char* kind, Mask mask, In value, Site site, F) {
  Out out;
  warp_collective(
      kind, mask, &value, &out,
      [](const LaneInputs& ins, const LaneOutputs& outs, Mask lanes) MONO_LANE_OPERATION {
        Out total{};
        bool first = true;
        for (int lane = 0; lane < 32; ++lane)
          if (lanes >> lane & 1) {
            F{}(total, *static_cast<const In*>(ins[lane]), lane, first);
            first = false;
          }
        for (int lane = 0; lane < 32; ++lane)
          if (lanes >> lane & 1) *static_cast<Out*>(outs[lane]) = total;
      },
      site);
  return out;
}

}  // namespace mono::simt

#define MONO_SITE_PARAMETERS const char *file_ = __builtin_FILE(), int line_ = __builtin_LINE()
#define MONO_SITE      \
  ::mono::simt::Site { \
    file_, line_       \
  }

// The key is an address of its own for every declaration and template instance.
#define MONO_SHARED(Type, name)     \
  static const char name##_key = 0; \
  Type& name = *static_cast<Type*>( \
      ::mono::simt::shared_object(&name##_key, sizeof(Type), alignof(Type), {__FILE__, __LINE__}))
#define MONO_DYNAMIC_SHARED(Type, name) \
  Type* const name = static_cast<Type*>(::mono::simt::dynamic_shared_object())

// --- Barriers, warp operations -------------------------------------------------------------------

inline void __syncthreads(MONO_SITE_PARAMETERS) {
  ::mono::simt::block_barrier(MONO_SITE);
}
inline int __syncthreads_count(int predicate, MONO_SITE_PARAMETERS) {
  return ::mono::simt::block_barrier_count(predicate != 0, MONO_SITE);
}
inline void __syncwarp(uint32_t mask = 0xffffffffu, MONO_SITE_PARAMETERS) {
  char nothing = 0;
  ::mono::simt::warp_collective(
      "__syncwarp", mask, &nothing, &nothing, [](const auto&, const auto&, uint32_t) {}, MONO_SITE,
      ::mono::simt::Meet::memory);
}
template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32, MONO_SITE_PARAMETERS) {
  const int lane = ::mono::simt::lane_index();
  return ::mono::simt::shuffle("__shfl_sync", mask, value,
                               (lane & ~(width - 1)) | (source & (width - 1)), MONO_SITE);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = 32, MONO_SITE_PARAMETERS) {
  const int lane = ::mono::simt::lane_index(), source = lane ^ lanes;
  const bool outside = (source & ~(width - 1)) > (lane & ~(width - 1));
  return ::mono::simt::shuffle("__shfl_xor_sync", mask, value, outside ? lane : source, MONO_SITE);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32, MONO_SITE_PARAMETERS) {
  const int lane = ::mono::simt::lane_index();
  const bool outside = (lane & (width - 1)) + static_cast<int>(delta) >= width;
  return ::mono::simt::shuffle("__shfl_down_sync", mask, value,
                               outside ? lane : lane + static_cast<int>(delta), MONO_SITE);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32, MONO_SITE_PARAMETERS) {
  const int lane = ::mono::simt::lane_index();
  const bool outside = (lane & (width - 1)) < static_cast<int>(delta);
  return ::mono::simt::shuffle("__shfl_up_sync", mask, value,
                               outside ? lane : lane - static_cast<int>(delta), MONO_SITE);
}
inline uint32_t __ballot_sync(uint32_t mask, int predicate, MONO_SITE_PARAMETERS) {
  return ::mono::simt::reduce_lanes<int, uint32_t>(
      "__ballot_sync", mask, predicate, MONO_SITE,
      [](uint32_t& bits, int p, int lane, bool) { bits |= static_cast<uint32_t>(p != 0) << lane; });
}
inline int __any_sync(uint32_t mask, int predicate, MONO_SITE_PARAMETERS) {
  return ::mono::simt::reduce_lanes<int, int>("__any_sync", mask, predicate, MONO_SITE,
                                              [](int& any, int p, int, bool) { any |= p != 0; });
}
inline int __all_sync(uint32_t mask, int predicate, MONO_SITE_PARAMETERS) {
  return ::mono::simt::reduce_lanes<int, int>(
      "__all_sync", mask, predicate, MONO_SITE,
      [](int& all, int p, int, bool first) { all = (first || all) && p != 0; });
}
inline unsigned __reduce_max_sync(uint32_t mask, unsigned value, MONO_SITE_PARAMETERS) {
  return ::mono::simt::reduce_lanes<unsigned, unsigned>(
      "__reduce_max_sync", mask, value, MONO_SITE,
      [](unsigned& m, unsigned v, int, bool) { m = std::max(m, v); });
}
inline unsigned __reduce_add_sync(uint32_t mask, unsigned value, MONO_SITE_PARAMETERS) {
  return ::mono::simt::reduce_lanes<unsigned, unsigned>(
      "__reduce_add_sync", mask, value, MONO_SITE,
      [](unsigned& sum, unsigned v, int, bool) { sum += v; });
}

// --- Atomics, bits, mathematics ------------------------------------------------------------------

template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  std::atomic_ref<T> shared(*address);
  T old = shared.load(std::memory_order_relaxed);
  while (old < value && !shared.compare_exchange_weak(old, value, std::memory_order_relaxed)) {
  }
  return old;
}

template <class T>
T __ldg(const T* p) {
  return *p;
}
inline float __uint_as_float(uint32_t bits) {
  return std::bit_cast<float>(bits);
}
inline uint32_t __float_as_uint(float value) {
  return std::bit_cast<uint32_t>(value);
}
inline int __popc(uint32_t bits) {
  return std::popcount(bits);
}
inline int __ffs(int bits) {
  return bits == 0 ? 0 : std::countr_zero(static_cast<uint32_t>(bits)) + 1;
}
inline int __clz(int bits) {
  return std::countl_zero(static_cast<uint32_t>(bits));
}
inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __logf(float x) {
  return std::log(x);
}
inline float __fdividef(float x, float y) {
  return x / y;
}
using std::fma;
using std::max;
using std::min;
