#include "kernels/crop_views/crop_views.cuh"

namespace mono {

template <class T>
void crop_views(Stream stream, const CropViewsProblem& problem, const uint8_t* planes,
                const CropView* views, const float* gain, const float* shift, const float* mean,
                const float* inv_std, T* out, std::span<std::byte> workspace) {
  if (!stream.on_gpu())
    return crop_views<T>(problem, planes, views, gain, shift, mean, inv_std, out, workspace);
  crop_views_check(problem, nullptr);
  CropViewsProblem p = problem;
  if (p.ldy == 0) p.ldy = p.C;
  const int tiles = static_cast<int>(blocks_for(p.P, kCropTile));
  const int64_t blocks = int64_t{p.M} * tiles * tiles;
  MONO_CHECK(blocks < (int64_t{1} << 31), "crop_views: {} views of {} are too many for one launch",
             p.M, p.P);
  const LaunchShape shape{static_cast<unsigned>(blocks), kCropThreads, 0};
  if (packs_fit(out, p.ldy, p.ldy))
    launch<crop_views_kernel<T, kPackWidth<T>>>(stream, shape, p, tiles, planes, views, gain, shift,
                                                mean, inv_std, out);
  else
    launch<crop_views_kernel<T, 1>>(stream, shape, p, tiles, planes, views, gain, shift, mean,
                                    inv_std, out);
}

#define MONO_INSTANTIATE(T)                                                                  \
  template void crop_views(Stream, const CropViewsProblem&, const uint8_t*, const CropView*, \
                           const float*, const float*, const float*, const float*, T*,       \
                           std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
