#include "kernels/weight_norm/weight_norm.cuh"

#include "kernels/weight_norm/weight_norm.h"

namespace mono {

template <class M>
void weight_norm_forward(Stream stream, int rows, int C, const M* v, const M* g, M* w, M* norms) {
  if (!stream.on_gpu()) return weight_norm_forward<M>(rows, C, v, g, w, norms);
  launch<weight_norm_forward_kernel<M>>(
      stream, {blocks_for(rows, kWeightNormRows), kWeightNormThreads}, rows, C, v, g, w, norms);
}

template <class M>
void weight_norm_backward(Stream stream, int rows, int C, const WeightNormBackward<M>& args) {
  if (!stream.on_gpu()) return weight_norm_backward<M>(rows, C, args);
  const auto wanted = [](M* to, GradMode mode) { return mode == GradMode::ignore ? nullptr : to; };
  launch<weight_norm_backward_kernel<M>>(
      stream, {blocks_for(rows, kWeightNormRows), kWeightNormThreads}, rows, C, args.v, args.g,
      args.norms, args.dw, wanted(args.dv, args.dv_mode), args.dv_mode == GradMode::accumulate,
      wanted(args.dg, args.dg_mode), args.dg_mode == GradMode::accumulate);
}

#define MONO_INSTANTIATE(M)                                                        \
  template void weight_norm_forward(Stream, int, int, const M*, const M*, M*, M*); \
  template void weight_norm_backward(Stream, int, int, const WeightNormBackward<M>&);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(double)

}  // namespace mono
