// The steps of the Barlow loss between its matrix products, on the CPU and (with a Stream) on both
// devices. Private to this folder.
#pragma once

#include "kernels/barlow/barlow.h"

namespace mono {

// What a term's L weighs its parts by, the mean over terms and the divisor included.
struct BarlowWeights {
  double diagonal, off_diagonal;  // of (1 - R_kk)^2, of R_jk^2
  int N;

  explicit BarlowWeights(const BarlowProblem& p) : N(p.N()) {
    const double unit = 1.0 / (p.pairs.terms() * p.divisor), K = p.K;
    diagonal = unit * p.diagonal / K;
    off_diagonal = unit * p.off_diagonal / (K * (K - 1));
  }
  // d L / d R_kk
  MONO_HOST_DEVICE double slope(double r) const { return -2 * diagonal * (1 - r); }
  // What a diagonal element adds to L where the sum of squares already runs over all of R, and the
  // derivative of that.
  MONO_HOST_DEVICE double correction(double r) const {
    return diagonal * (1 - r) * (1 - r) - off_diagonal * r * r;
  }
  MONO_HOST_DEVICE double correction_slope(double r) const {
    return slope(r) - 2 * off_diagonal * r;
  }
};

#define MONO_BARLOW_STEPS(STREAM)                                                                 \
  /* z = (x / temperature - mean) * inverse_deviation over each of `groups` runs of B rows of x   \
     (groups * B, K); temperature null: 1; mean and inverse_deviation (groups, K), null: not      \
     wanted. */                                                                                   \
  template <class T>                                                                              \
  void barlow_standardise(STREAM int groups, int B, int K, double eps, const T* x,                \
                          const double* temperature, Master<T>* z, Master<T>* mean,               \
                          Master<T>* inverse_deviation);                                          \
  /* sums[v] = sum of the Gram matrices of v's teachers; (teachers, N, N) to (views, N, N). */    \
  template <class M>                                                                              \
  void barlow_add_grams(STREAM int N, const ViewPairs& pairs, const M* grams, M* sums);           \
  /* From H to d loss / d Zs, in place; parts[v, k]: what column k adds to the loss of view v. */ \
  template <class M>                                                                              \
  void barlow_gram_columns(STREAM const BarlowProblem& problem, const M* teacher,                 \
                           const M* student, M* gradient, double* parts);                         \
  /* From N R to d loss / d (N R), in place; parts[j]: what row j adds to the loss. */            \
  template <class M>                                                                              \
  void barlow_direct_rows(STREAM const BarlowProblem& problem, M* r, double* parts);              \
  /* losses[v] = scale * the sum of its `count` parts. */                                         \
  template <class M>                                                                              \
  void barlow_add_parts(STREAM int views, int count, const double* parts, double scale,           \
                        M* losses);
MONO_BARLOW_STEPS()
#define MONO_STREAM_FIRST Stream stream,
MONO_BARLOW_STEPS(MONO_STREAM_FIRST)
#undef MONO_STREAM_FIRST
#undef MONO_BARLOW_STEPS

template <class T>
void barlow_backward(const BarlowProblem& problem, const BarlowBackward<T>& args);

}  // namespace mono
