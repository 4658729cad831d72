// The arithmetic of a dense block on tables of (segments, channels), one element at a time. Host
// loops (a CPU stream) and kernels (a GPU's) run the same functions, so both devices give the same
// numbers. Formulas: the head of dense_block.cpp.
//
// A step of the block is one struct, and for_each_element(stream, elements, step) is one launch.
// Only dense_block.cpp uses this.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/host_device.h"
#include "kernels/base/segments.h"
#include "kernels/batch_norm/batch_norm_fold.h"

namespace mono::dense_block_tables {

// A (segments, C) table of statistics at a row pitch.
template <class M>
struct Statistics {
  const M *mean, *variance;
  int ld;
};

// Pixels of a segment; offsets in the memory of the device that asks.
struct SegmentPixels {
  const int* offsets;
  int H, W;

  MONO_HOST_DEVICE double operator()(int64_t s) const {
    return static_cast<double>(offsets[s + 1] - offsets[s]) * H * W;
  }
};

// scale, shift (segments, C) of a batch norm.
template <class M>
struct Fold {
  int C;
  double eps;
  const M *gamma, *beta;
  Statistics<M> statistics;
  M *scale, *shift;

  MONO_HOST_DEVICE void operator()(int64_t at) const {
    const int64_t s = at / C, c = at % C, from = s * statistics.ld + c;
    const ScaleShift<M> folded = batch_norm_fold_one(gamma[c], beta[c], statistics.mean[from],
                                                     statistics.variance[from], eps);
    scale[at] = folded.scale;
    shift[at] = folded.shift;
  }
};

// The deferred numbers A and B of every channel of X, (segments, C_total).
struct Deferred {
  double *first, *second;
  int C_total;
};

// u and v of channels [begin, begin + C) of X as coefficients b and c, (segments, C).
template <class M>
struct DeferredTerms {
  int begin, C;
  double eps;
  Deferred deferred;
  const M *mean, *variance;  // (segments, C_total)
  M *b, *c;

  MONO_HOST_DEVICE void operator()(int64_t i) const {
    const int64_t at = i / C * deferred.C_total + begin + i % C;
    const double u = -deferred.second[at] / sqrt(variance[at] + eps);
    b[i] = static_cast<M>(u);
    c[i] = static_cast<M>(-deferred.first[at] - u * mean[at]);
  }
};

// What a layer's backward starts with: both folds, and the deferred terms of the layer's own slice
// where they are wanted (terms.C == 0: not).
template <class M>
struct StartLayer {
  int segments;
  Fold<M> fold1, fold2;
  DeferredTerms<M> terms;

  int64_t elements() const { return int64_t{segments} * (fold1.C + fold2.C + terms.C); }
  MONO_HOST_DEVICE void operator()(int64_t i) const {
    const int64_t n1 = int64_t{segments} * fold1.C, n2 = int64_t{segments} * fold2.C;
    if (i < n1)
      fold1(i);
    else if (i < n1 + n2)
      fold2(i - n1);
    else
      terms(i - n1 - n2);
  }
};

// dgamma and dbeta of a channel from the sums of a dgrad's epilogue (segments, C): segments in
// order, in double. Null outputs are not wanted. per_segment(s, sum_dz, sum_dzx, row, sigma) takes
// what else a segment's sums are for; `row` is the place in the statistics.
template <class M>
struct ParameterGradients {
  int segments, C;
  double eps;
  Statistics<M> statistics;
  const M *sum_dz, *sum_dzx;
  bool accumulate;
  M *dgamma, *dbeta;

  template <class F>
  MONO_HOST_DEVICE void run(int64_t c, const F& per_segment) const {
    double gamma = 0, beta = 0;
    for (int64_t s = 0; s < segments; ++s) {
      const int64_t row = s * statistics.ld + c;
      const double sigma = sqrt(statistics.variance[row] + eps);
      const M dz = sum_dz[s * C + c], dzx = sum_dzx[s * C + c];
      gamma += dzx / sigma;
      beta += dz;
      per_segment(s, dz, dzx, row, sigma);
    }
    if (dgamma) dgamma[c] = static_cast<M>(gamma + (accumulate ? dgamma[c] : M(0)));
    if (dbeta) dbeta[c] = static_cast<M>(beta + (accumulate ? dbeta[c] : M(0)));
  }
};

// After the 3x3 dgrad, per channel: the parameter gradients of bn2, and with batch statistics the
// coefficients of its backward, g1 = scale2 * dz2 + (b * y1 + c), (segments, C).
template <class M>
struct FinishNorm2 {
  ParameterGradients<M> gradients;
  bool batch_statistics;
  SegmentPixels pixels;
  const M* scale;
  M *b, *c;

  MONO_HOST_DEVICE void operator()(int64_t channel) const {
    const Statistics<M>& table = gradients.statistics;
    gradients.run(channel, [&](int64_t s, M dz, M dzx, int64_t row, double) {
      if (!batch_statistics) return;
      const int64_t at = s * gradients.C + channel;
      const double factor = scale[at] / pixels(s);
      const double slope = -factor * dzx / (table.variance[row] + gradients.eps);
      b[at] = static_cast<M>(slope);
      c[at] = static_cast<M>(-factor * dz - slope * table.mean[row]);
    });
  }
};

// After the 1x1 dgrad, per channel: the parameter gradients of bn1, and with batch statistics what
// it adds to the deferred numbers.
template <class M>
struct FinishNorm1 {
  ParameterGradients<M> gradients;
  bool batch_statistics;
  SegmentPixels pixels;
  const M* scale;
  Deferred deferred;

  MONO_HOST_DEVICE void operator()(int64_t channel) const {
    gradients.run(channel, [&](int64_t s, M dz, M dzx, int64_t, double sigma) {
      if (!batch_statistics) return;
      const int64_t to = s * deferred.C_total + channel;
      const double factor = scale[s * gradients.C + channel] / pixels(s);
      deferred.first[to] += factor * dz;
      deferred.second[to] += factor * dzx / sigma;
    });
  }
};

// step(i) for i in [0, n), on the stream's device. Elements are independent of each other.
template <class Step>
void for_each_element(Stream stream, int64_t n, const Step& step);

// D[., 0..C) = D + (b * x + c), pixels of pitch ld, coefficients (segments, C): the deferred terms
// of the block's input.
template <class T>
struct FinishInput {
  int C, ld;
  int64_t image_pixels;
  Segments segments;
  const Master<T>*b, *c;
  const T* x;
  Master<T>* D;
};
template <class T>
void finish_input(Stream stream, const FinishInput<T>& args);

}  // namespace mono::dense_block_tables
