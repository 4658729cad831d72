// The epilogue of dgrad as a pass over a result in memory.
#pragma once

#include "kernels/conv2d/conv2d_epilogue.cuh"

namespace mono::conv2d_gpu {

constexpr int kLibraryRows = 64, kLibraryColumns = 32, kLibraryThreads = 256;

// A block brings a tile of dz (pixels, columns), packed, to where an epilogue expects accumulators.
// Of `p`, destination and segments are used. Traffic: dz once, and the epilogue's own.
template <class T, class Epilogue>
__global__ void __launch_bounds__(kLibraryThreads)
    library_epilogue_kernel(const Product<T> p, const Epilogue epilogue, const T* dz,
                            int column_tiles) {
  using Values = float[kLibraryRows * tile_pitch(kLibraryColumns)];
  MONO_SHARED(Values, values);
  const int64_t unit = blockIdx.x / column_tiles;
  const int column0 = static_cast<int>(blockIdx.x % column_tiles) * kLibraryColumns;
  const PixelClass c = pixel_class(p, 0);
  const int image_pixels = p.out_H * p.out_W;
  const Tile tile = tile_at(p.offsets, p.segments, image_pixels, image_pixels, kLibraryRows,
                            static_cast<int>(unit));
  const int lane = static_cast<int>(threadIdx.x) % 32, column = column0 + lane;
  for (int row = static_cast<int>(threadIdx.x) / 32; row < tile.rows; row += kLibraryThreads / 32) {
    const int64_t at = int64_t{tile.first + row} * p.columns + column;
    values[row * tile_pitch(kLibraryColumns) + lane] =
        column < p.columns ? static_cast<float>(dz[at]) : 0.0f;
  }
  __syncthreads();
  epilogue.template operator()<kLibraryColumns, kLibraryThreads>(p, c, tile, unit, column0, values);
}

}  // namespace mono::conv2d_gpu
