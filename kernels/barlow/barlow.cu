#include "kernels/barlow/barlow.cuh"

namespace mono {
namespace {

LaunchShape columns_shape(int K, int groups) {
  return {dim3(blocks_for(K, kBarlowColumns), static_cast<unsigned>(groups)),
          dim3(kBarlowColumns, kBarlowLanes)};
}

}  // namespace

template <class T>
void barlow_standardise(Stream stream, int groups, int B, int K, double eps, const T* x,
                        const double* temperature, Master<T>* z, Master<T>* mean,
                        Master<T>* inverse_deviation) {
  if (!stream.on_gpu())
    return barlow_standardise<T>(groups, B, K, eps, x, temperature, z, mean, inverse_deviation);
  launch<barlow_standardise_kernel<T>>(stream, columns_shape(K, groups), B, K, 1.0 / B, eps, x,
                                       temperature, z, mean, inverse_deviation);
}

template <class M>
void barlow_add_grams(Stream stream, int N, const ViewPairs& pairs, const M* grams, M* sums) {
  if (!stream.on_gpu()) return barlow_add_grams<M>(N, pairs, grams, sums);
  const int64_t square = int64_t{N} * N;
  launch<barlow_add_grams_kernel<M>>(
      stream,
      {dim3(blocks_for(square, kBarlowThreads), static_cast<unsigned>(pairs.views)),
       kBarlowThreads},
      square, pairs, grams, sums);
}

template <class M>
void barlow_gram_columns(Stream stream, const BarlowProblem& p, const M* teacher, const M* student,
                         M* gradient, double* parts) {
  if (!stream.on_gpu()) return barlow_gram_columns<M>(p, teacher, student, gradient, parts);
  launch<barlow_gram_columns_kernel<M>>(stream, columns_shape(p.K, p.pairs.views), p.K, p.pairs,
                                        BarlowWeights(p), teacher, student, gradient, parts);
}

template <class M>
void barlow_direct_rows(Stream stream, const BarlowProblem& p, M* r, double* parts) {
  if (!stream.on_gpu()) return barlow_direct_rows<M>(p, r, parts);
  launch<barlow_direct_rows_kernel<M>>(stream, {static_cast<unsigned>(p.K), kBarlowThreads}, p.K,
                                       BarlowWeights(p), r, parts);
}

template <class M>
void barlow_add_parts(Stream stream, int views, int count, const double* parts, double scale,
                      M* losses) {
  if (!stream.on_gpu()) return barlow_add_parts<M>(views, count, parts, scale, losses);
  launch<barlow_add_parts_kernel<M>>(stream, {static_cast<unsigned>(views), kBarlowThreads}, count,
                                     parts, scale, losses);
}

template <class T>
void barlow_backward(Stream stream, const BarlowProblem& p, const BarlowBackward<T>& args) {
  if (!stream.on_gpu()) return barlow_backward<T>(p, args);
  if (args.mode == GradMode::ignore) return;
  launch<barlow_backward_kernel<T>>(stream, columns_shape(p.K, p.pairs.views * p.groups), p.B, p.K,
                                    args.student, args.temperature, args.gradient, args.mean,
                                    args.inverse_deviation, args.weight, args.dstudent,
                                    args.mode == GradMode::accumulate);
}

#define MONO_INSTANTIATE(T)                                                                \
  template void barlow_standardise(Stream, int, int, int, double, const T*, const double*, \
                                   Master<T>*, Master<T>*, Master<T>*);                    \
  template void barlow_backward(Stream, const BarlowProblem&, const BarlowBackward<T>&);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
#define MONO_INSTANTIATE_MASTER(M)                                                        \
  template void barlow_add_grams(Stream, int, const ViewPairs&, const M*, M*);            \
  template void barlow_gram_columns(Stream, const BarlowProblem&, const M*, const M*, M*, \
                                    double*);                                             \
  template void barlow_direct_rows(Stream, const BarlowProblem&, M*, double*);            \
  template void barlow_add_parts(Stream, int, int, const double*, double, M*);
MONO_INSTANTIATE_MASTER(float)
MONO_INSTANTIATE_MASTER(double)

}  // namespace mono
