#include "kernels/linear/linear.cuh"

#include <algorithm>

#include "kernels/base/thread_pool.h"
#include "kernels/linear/linear_variants.h"

namespace mono {

template <class T>
void scale_rows(Stream stream, int rows, int columns, int rows_per_keep, const float* keep,
                const T* dy, T* g) {
  using M = Master<T>;
  if (!stream.on_gpu())
    return parallel_for(rows, [&](int64_t r, int) {
      const M factor = static_cast<M>(keep[r / rows_per_keep]);
      for (int64_t c = r * columns; c < (r + 1) * columns; ++c)
        g[c] = T(static_cast<M>(dy[c]) * factor);
    });
  const auto run = [&]<int V>() {
    const int packs = columns / V, threads = std::min(kScaleRowsThreads, (packs + 31) / 32 * 32);
    const dim3 grid(blocks_for(packs, threads), static_cast<unsigned>(std::min(rows, 65535)));
    launch<scale_rows_kernel<T, V>>(stream, {grid, static_cast<unsigned>(threads)}, rows, columns,
                                    rows_per_keep, keep, dy, g);
  };
  if (packs_fit(dy, columns, columns) && packs_fit(g, columns, columns))
    run.template operator()<kPackWidth<T>>();
  else
    run.template operator()<1>();
}

template void scale_rows(Stream, int, int, int, const float*, const float*, float*);
template void scale_rows(Stream, int, int, int, const float*, const bf16*, bf16*);
template void scale_rows(Stream, int, int, int, const float*, const double*, double*);

}  // namespace mono
