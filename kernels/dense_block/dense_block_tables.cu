#include "kernels/dense_block/dense_block_tables.cuh"

#include <algorithm>

#include "kernels/base/pixel_units.h"
#include "kernels/base/thread_pool.h"
#include "kernels/conv2d/conv2d_rows.h"

namespace mono::dense_block_tables {

template <class Step>
void for_each_element(Stream stream, int64_t n, const Step& step) {
  if (stream.on_gpu())
    launch<for_each_element_kernel<Step>>(stream, {blocks_for(n, kThreads), kThreads}, n, step);
  else
    for (int64_t i = 0; i < n; ++i) step(i);
}

namespace {

template <class T>
void finish_input_on_cpu(const FinishInput<T>& in) {
  using M = Master<T>;
  const PixelUnits units(in.segments, in.image_pixels, in.C);
  parallel_for(units.count(), [&](int64_t index, int) {
    const PixelUnit unit = units.at(index);
    const int64_t table = int64_t{unit.segment} * in.C, at = unit.begin * in.ld;
    gradient_rows<T, M, M>({.dy = in.D + at,
                            .lddy = in.ld,
                            .y = in.x + at,
                            .ldy = in.ld,
                            .b = in.b + table,
                            .c = in.c + table,
                            .g = in.D + at,
                            .ldg = in.ld,
                            .K = in.C},
                           unit.end - unit.begin);
  });
}

}  // namespace

template <class T>
void finish_input(Stream stream, const FinishInput<T>& in) {
  if (!stream.on_gpu()) return finish_input_on_cpu(in);
  constexpr int kWidth = kPackWidth<Master<T>>;
  const bool vectors = packs_fit(in.D, in.ld, in.C) && reinterpret_cast<uintptr_t>(in.x) % 16 == 0;
  int images = 0;  // of the largest segment
  for (int s = 0; s < in.segments.count; ++s)
    images = std::max(images, in.segments.end(s) - in.segments.begin(s));
  const int64_t threads = images * in.image_pixels * in.C / (vectors ? kWidth : 1);
  const LaunchShape shape{
      {std::min(blocks_for(threads, kThreads), 65536u), static_cast<unsigned>(in.segments.count)},
      kThreads};
  if (vectors)
    launch<finish_input_kernel<T, kWidth>>(stream, shape, in);
  else
    launch<finish_input_kernel<T, 1>>(stream, shape, in);
}

#define MONO_INSTANCE(M)                                                    \
  template void for_each_element(Stream, int64_t, const Fold<M>&);          \
  template void for_each_element(Stream, int64_t, const StartLayer<M>&);    \
  template void for_each_element(Stream, int64_t, const DeferredTerms<M>&); \
  template void for_each_element(Stream, int64_t, const FinishNorm1<M>&);   \
  template void for_each_element(Stream, int64_t, const FinishNorm2<M>&);
MONO_INSTANCE(float)
MONO_INSTANCE(double)
template void finish_input(Stream, const FinishInput<float>&);
template void finish_input(Stream, const FinishInput<bf16>&);
template void finish_input(Stream, const FinishInput<double>&);

}  // namespace mono::dense_block_tables
