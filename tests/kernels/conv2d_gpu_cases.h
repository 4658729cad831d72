// The operands and results of conv2d_cases.h in the GPU's memory.
#pragma once

#include "tests/kernels/conv2d_cases.h"
#include "tests/kernels/gpu_test.h"

namespace mono::conv2d_test {

template <class T>
GpuArray<T> upload(Stream stream, const GuardedArray<T>& from) {
  return GpuArray<T>(stream, std::span<const T>(from.data(), static_cast<size_t>(from.size())));
}
template <class T>
void download(GuardedArray<T>& to, const GpuArray<T>& from) {
  const std::vector<T> values = from.host();
  ASSERT_EQ(static_cast<int64_t>(values.size()), to.size());
  std::copy(values.begin(), values.end(), to.data());
}

template <class T, class GradT>
struct GpuOperands {
  using M = Master<T>;
  GpuArray<T> x, y_saved;
  GpuArray<M> w, scale, shift, mean, multiply, a, b, c;
  GpuArray<GradT> dy;
  GpuArray<T> g;
  GpuArray<int> offsets;
  const int* gpu_offsets() const { return offsets.data(); }

  GpuOperands(Stream s, const Case& test, const Operands<T, GradT>& from)
      : x(upload(s, from.x)),
        y_saved(upload(s, from.y_saved)),
        w(upload(s, from.w)),
        scale(upload(s, from.scale)),
        shift(upload(s, from.shift)),
        mean(upload(s, from.mean)),
        multiply(upload(s, from.multiply)),
        a(upload(s, from.a)),
        b(upload(s, from.b)),
        c(upload(s, from.c)),
        dy(upload(s, from.dy)),
        g(upload(s, from.g)),
        offsets(s, test.offsets) {}
};

template <class T, class GradT>
struct GpuResults {
  using M = Master<T>;
  GpuArray<T> y, g_out;
  GpuArray<GradT> dx;
  GpuArray<M> mean, variance, sum_dz, sum_dzx, dw;

  GpuResults(Stream s, const Results<T, GradT>& from)
      : y(upload(s, from.y)),
        g_out(upload(s, from.g_out)),
        dx(upload(s, from.dx)),
        mean(upload(s, from.mean)),
        variance(upload(s, from.variance)),
        sum_dz(upload(s, from.sum_dz)),
        sum_dzx(upload(s, from.sum_dzx)),
        dw(upload(s, from.dw)) {}

  void copy_to(Results<T, GradT>& to) const {
    download(to.y, y);
    download(to.g_out, g_out);
    download(to.dx, dx);
    download(to.mean, mean);
    download(to.variance, variance);
    download(to.sum_dz, sum_dz);
    download(to.sum_dzx, sum_dzx);
    download(to.dw, dw);
  }
};

// The results of passes(stream, operands, results), on top of what Results holds at first.
template <class T, class GradT, class F>
Results<T, GradT> run_on_gpu(const Case& test, const Operands<T, GradT>& operands, F&& passes) {
  const GpuStream stream;
  Results<T, GradT> results(test);
  GpuOperands<T, GradT> in(stream, test, operands);
  GpuResults<T, GradT> out(stream, results);
  passes(Stream(stream), in, out);
  out.copy_to(results);
  return results;
}

}  // namespace mono::conv2d_test
