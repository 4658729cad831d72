// The Barlow loss between views (Zbontar et al. 2021; CDCL Eq. 3): the cross-correlation of the
// teacher's and the student's features should be the identity.
//
//   Z = batch norm of a view's rows: (x - mean) / sqrt(variance + eps), biased, no affine
//   R = Zt^T Zs / N,                                (K,K), over N rows
//   L = diagonal * mean_k (1 - R_kk)^2 + off_diagonal * mean_(j != k) R_jk^2
//   loss = mean of L over the terms (a teacher view, a student view) / divisor
//
// R never has to exist. With N = 92 rows and K = 4096 features its rank is below N, and
//
//   sum_jk R_jk^2 = tr(Gt Gs) / N^2 = sum_nk Zs (Gt Zs) / N^2,       Gt = Zt Zt^T   (N,N)
//   d (that) / d Zs = 2 Gt Zs / N^2
//
// so that one product H = Gt Zs gives the value and the gradient, and the teachers of a view add up
// in Gt before it. For B = 92, K = 4096, 2 teachers, 8 views, 14 terms:
//
//                       FLOP      largest temporary
//   direct   R, then R's gradient times Zt: 2 x 14 x 2 N K^2 = 87 G     K^2: 67 MB in f32
//   gram     2 x 2 N^2 K + 8 x 2 N^2 K = 0.69 G                         H: 12 MB
//
// The rest is memory: S, Zs and H are 12 MB each.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"
#include "kernels/base/view_pairs.h"

namespace mono {

struct BarlowProblem {
  int B = 0;        // rows of a view, what batch statistics are over; at least 2
  int K = 0;        // features; at least 2
  int groups = 1;   // views stacked for one correlation, each with its own statistics (BYOL: 2)
  ViewPairs pairs;  // of matrices of N rows
  double diagonal = 0.05, off_diagonal = 0.95, divisor = 0.0595, eps = 1e-5;

  int N() const { return groups * B; }
};

enum class BarlowVariant {
  direct,  // the definition: R and its gradient, one (K,K) matrix at a time
  gram     // products of (N,N) matrices; the same numbers
};

template <class T>
struct BarlowForward {
  const Master<T>* teacher = nullptr;   // (teachers * N, K) packed, centred and tempered
  const T* student = nullptr;           // (views * N, K) packed
  const double* temperature = nullptr;  // of the student, where the operation runs; null: 1
  Master<T>* losses = nullptr;          // (views); their mean is the loss
  // For backward: d loss / d Zs (views * N, K), mean and 1 / deviation of S / temperature (views *
  // groups, K).
  Master<T>* gradient = nullptr;
  Master<T>* mean = nullptr;
  Master<T>* inverse_deviation = nullptr;
};
// Workspace: memory of the stream's device. Sums in double, products in M.
template <class T>
void barlow_forward(Stream stream, BarlowVariant variant, const BarlowProblem& problem,
                    const BarlowForward<T>& args, std::span<std::byte> workspace);
size_t barlow_workspace_bytes(Device device, BarlowVariant variant, const BarlowProblem& problem,
                              DType dtype);

// dS = weight * d loss / d S.
template <class T>
struct BarlowBackward {
  const T* student = nullptr;
  const double* temperature = nullptr;
  const Master<T>* gradient = nullptr;
  const Master<T>* mean = nullptr;
  const Master<T>* inverse_deviation = nullptr;
  double weight = 1;
  T* dstudent = nullptr;
  GradMode mode = GradMode::overwrite;
};
template <class T>
void barlow_backward(Stream stream, const BarlowProblem& problem, const BarlowBackward<T>& args);

}  // namespace mono
