#include "kernels/byol/byol.cuh"

#include "kernels/byol/byol.h"

namespace mono {
namespace {

LaunchShape rows_shape(int B) {
  return {blocks_for(2 * int64_t{B}, kByolRows), kByolThreads};
}

}  // namespace

template <class T>
void byol_forward(Stream stream, const ByolLoss<T>& args, Master<T>* losses) {
  if (!stream.on_gpu()) return byol_forward<T>(args, losses);
  launch<byol_forward_kernel<T>>(stream, rows_shape(args.B), args.B, args.C, args.prediction,
                                 args.target, args.scale, args.eps, losses);
}

template <class T>
void byol_backward(Stream stream, const ByolLoss<T>& args, double weight, T* dprediction,
                   GradMode mode) {
  if (!stream.on_gpu()) return byol_backward<T>(args, weight, dprediction, mode);
  if (mode == GradMode::ignore) return;
  launch<byol_backward_kernel<T>>(stream, rows_shape(args.B), args.B, args.C, args.prediction,
                                  args.target, -2 * weight * args.scale, args.eps, dprediction,
                                  mode == GradMode::accumulate);
}

#define MONO_INSTANTIATE(T)                                           \
  template void byol_forward(Stream, const ByolLoss<T>&, Master<T>*); \
  template void byol_backward(Stream, const ByolLoss<T>&, double, T*, GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
