#include "kernels/dino/dino.cuh"

namespace mono {
namespace {

LaunchShape rows_shape(int64_t rows) {
  return {static_cast<unsigned>(rows), kDinoThreads};
}

}  // namespace

template <class M>
void softmax_rows(Stream stream, int rows, int K, const M* x, M* y) {
  if (!stream.on_gpu()) return softmax_rows<M>(rows, K, x, y);
  launch<softmax_rows_kernel<M>>(stream, rows_shape(rows), K, x, y);
}

template <class T>
void dino_forward(Stream stream, const DinoLoss<T>& args, Master<T>* losses, Master<T>* rows) {
  if (!stream.on_gpu()) return dino_forward<T>(args, losses, rows);
  args.pairs.check("dino_forward");
  launch<dino_forward_kernel<T>>(stream, rows_shape(int64_t{args.pairs.views} * args.B), args.B,
                                 args.K, args.pairs, args.student, args.temperature, args.teacher,
                                 args.scale, losses, rows);
}

template <class T>
void dino_backward(Stream stream, const DinoLoss<T>& args, const Master<T>* rows, double weight,
                   T* dstudent, GradMode mode) {
  if (!stream.on_gpu()) return dino_backward<T>(args, rows, weight, dstudent, mode);
  if (mode == GradMode::ignore) return;
  launch<dino_backward_kernel<T>>(stream, rows_shape(int64_t{args.pairs.views} * args.B), args.B,
                                  args.K, args.pairs, args.student, args.temperature, args.teacher,
                                  rows, weight * args.scale, dstudent,
                                  mode == GradMode::accumulate);
}

template void softmax_rows(Stream, int, int, const float*, float*);
template void softmax_rows(Stream, int, int, const double*, double*);
#define MONO_INSTANTIATE(T)                                                       \
  template void dino_forward(Stream, const DinoLoss<T>&, Master<T>*, Master<T>*); \
  template void dino_backward(Stream, const DinoLoss<T>&, const Master<T>*, double, T*, GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
