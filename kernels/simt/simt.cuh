// The CUDA vocabulary that kernels are written in. nvcc sees CUDA itself; any other compiler sees
// the same words, and the emulator runs every CUDA thread as a fiber (README.md here).
//
// In a kernel: threadIdx, blockIdx, blockDim, gridDim, __syncthreads, __syncwarp, __shfl_*_sync,
// __ballot_sync, __any_sync, __all_sync, atomicAdd, fmaf, rsqrtf, __expf, ... as in CUDA, and
//
//   MONO_SHARED(Type, name);            one shared object, e.g. using Tile = float[32][33]
//   MONO_DYNAMIC_SHARED(Type, name);    the launch's dynamic shared memory, as Type*
//   instructions.cuh                    cp.async, ldmatrix, mma: the only PTX of the project
//
// Rules: masks are full or written out, never __activemask; no CUB, no cooperative groups; blocks
// do not talk to each other (a reduction over blocks is a second launch); no raw __shared__.
//
// On the host:  launch<my_kernel<T>>(stream, {grid, block, dynamic_shared_bytes}, arguments...);
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>

#include "kernels/base/device.h"
#include "kernels/base/error.h"
#include "kernels/base/host_device.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>

#include "kernels/base/gpu_cuda.h"

// Aligned for 16-byte accesses, which an array of float alone is not.
#define MONO_SHARED(Type, name) __shared__ __align__(16) Type name
#define MONO_DYNAMIC_SHARED(Type, name)                                \
  extern __shared__ __align__(16) unsigned char mono_dynamic_shared[]; \
  Type* const name = reinterpret_cast<Type*>(mono_dynamic_shared)
#else
#include "kernels/simt/emulator.h"
#endif

namespace mono {

struct LaunchShape {
  dim3 grid, block;
  size_t dynamic_shared = 0;  // bytes
};

// "mono::batch_norm_apply<float>" of the function given as template argument.
template <auto Kernel>
constexpr std::string_view kernel_name() {
  constexpr std::string_view text = __PRETTY_FUNCTION__;
  constexpr size_t after = text.find("Kernel = ") + 9;
  constexpr size_t from = after + (text[after] == '&');  // clang's spelling
  constexpr size_t to = text.find_first_of(";]", from);
  return text.substr(from, to - from);
}

// Enqueues a kernel. Arguments are converted to the kernel's parameter types.
template <auto Kernel, class... Args>
void launch(Stream stream, const LaunchShape& shape, Args... args) {
  if (stream.device != kGpu)
    fail(ErrorKind::internal, "{}: launched on a stream of the {}", kernel_name<Kernel>(),
         name_of(stream.device));
  if (size_t{shape.grid.x} * shape.grid.y * shape.grid.z == 0) return;  // nothing to do
  [&]<class... Params>(void (*)(Params...)) {
#ifdef __CUDACC__
    if (shape.dynamic_shared > 48 * 1024)
      detail::allow_dynamic_shared(kernel_name<Kernel>(), reinterpret_cast<const void*>(Kernel),
                                   shape.dynamic_shared);
    Kernel<<<shape.grid, shape.block, shape.dynamic_shared, cuda_stream(stream)>>>(
        static_cast<Params>(args)...);
    detail::after_launch(kernel_name<Kernel>(), shape.grid, shape.block, shape.dynamic_shared,
                         stream);
#else
    int argument = 0;
    (simt::check_argument(kernel_name<Kernel>(), argument++, static_cast<Params>(args)), ...);
    simt::enqueue_launch(stream, kernel_name<Kernel>(), shape.grid, shape.block,
                         shape.dynamic_shared,
                         [bound = std::tuple<Params...>(static_cast<Params>(args)...)] {
                           std::apply([](const Params&... p) { Kernel(p...); }, bound);
                         });
#endif
  }(Kernel);
}

// Blocks of `threads` that cover n elements.
constexpr unsigned blocks_for(int64_t n, int threads) {
  return static_cast<unsigned>((n + threads - 1) / threads);
}

}  // namespace mono
