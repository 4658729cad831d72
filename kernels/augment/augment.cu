#include "kernels/augment/augment.cuh"

namespace mono {

template <class T>
void augment(Stream stream, const AugmentProblem& problem, const uint8_t* planes,
             const AugmentImage* images, const float* mean, const float* inv_std, T* out) {
  if (!stream.on_gpu()) return augment<T>(problem, planes, images, mean, inv_std, out);
  augment_check(problem, nullptr);
  AugmentProblem p = problem;
  if (p.ldy == 0) p.ldy = p.C;
  const unsigned tiles = blocks_for(p.P, kAugmentTile);
  const LaunchShape shape{dim3(tiles, tiles, static_cast<unsigned>(p.N)), kAugmentThreads, 0};
  if (packs_fit(out, p.ldy, p.ldy))
    launch<augment_kernel<T, kPackWidth<T>>>(stream, shape, p, planes, images, mean, inv_std, out);
  else
    launch<augment_kernel<T, 1>>(stream, shape, p, planes, images, mean, inv_std, out);
}

void crop_statistics(Stream stream, const AugmentProblem& problem, const uint8_t* planes,
                     const AugmentImage* images, double* mean, double* std) {
  if (!stream.on_gpu()) return crop_statistics(problem, planes, images, mean, std);
  augment_check(problem, nullptr);
  check_crop_sums(problem);
  const LaunchShape shape{static_cast<unsigned>(problem.N * problem.C), kAugmentThreads, 0};
  if (packs_fit(planes, problem.W, problem.W))
    launch<crop_statistics_kernel<kPackWidth<uint8_t>>>(stream, shape, problem, planes, images,
                                                        mean, std);
  else
    launch<crop_statistics_kernel<1>>(stream, shape, problem, planes, images, mean, std);
}

void standardisation_tables(Stream stream, int64_t n, const double* mean, const double* std,
                            float* plane_mean, float* plane_inv_std) {
  if (!stream.on_gpu()) return standardisation_tables(n, mean, std, plane_mean, plane_inv_std);
  launch<standardisation_kernel<double>>(stream,
                                         {blocks_for(n, kAugmentThreads), kAugmentThreads, 0}, n,
                                         mean, std, plane_mean, plane_inv_std);
}

template void augment(Stream, const AugmentProblem&, const uint8_t*, const AugmentImage*,
                      const float*, const float*, float*);
template void augment(Stream, const AugmentProblem&, const uint8_t*, const AugmentImage*,
                      const float*, const float*, bf16*);
template void augment(Stream, const AugmentProblem&, const uint8_t*, const AugmentImage*,
                      const float*, const float*, double*);

}  // namespace mono
