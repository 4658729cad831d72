// DINO's cross-entropy between views (Caron et al. 2021; CDCL Eq. 2), all terms in one pass.
//
//   P_i = softmax of the teacher's view i, centred and tempered (kernels/domain_centring)
//   Q_v = softmax(S_v / temperature) of the student's view v
//   losses[v,b] = scale * sum over the teacher's views i that v learns from of -sum_k P_i[b,k] ln
//   Q_v[b,k]
//   dS_v[b,k]   = weight * scale / temperature * (m Q_v[b,k] - sum_i P_i[b,k]),   m: how many i
//
// A student row has up to two teachers, whose probabilities are read from where they were computed
// once: the (2 B, K) of P stay in the second-level cache while the rows of all views pass by.
// Traffic: S once forward (K = 4096 logits of a row stay in the first-level cache), S once and dS
// once backward. B = 92 pairs of 8 views, K = 4096, f32: 12 MB each, 3.6 us at 3.35 TB/s.
#pragma once

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"
#include "kernels/base/view_pairs.h"

namespace mono {

// y = softmax of the rows of x (rows, K), in M; y may alias x. The sum in double.
template <class M>
void softmax_rows(int rows, int K, const M* x, M* y);

template <class T>
struct DinoLoss {
  int B = 0, K = 0;
  ViewPairs pairs;
  const T* student = nullptr;           // (views * B, K) packed
  const double* temperature = nullptr;  // the student's: one number where the operation runs
  const Master<T>* teacher = nullptr;   // (teachers * B, K): P
  double scale = 1;
};
// losses (views * B); rows (views * B, 2), for backward: the largest logit of S, and 1 / sum of
// exponentials behind it (with these two, q keeps the digits that a log-sum-exp of size ln K would
// cost). A view without a teacher has loss 0. Sums in double.
template <class T>
void dino_forward(const DinoLoss<T>& args, Master<T>* losses, Master<T>* rows);
template <class T>
void dino_backward(const DinoLoss<T>& args, const Master<T>* rows, double weight, T* dstudent,
                   GradMode mode);

// The same on the stream's device.
template <class M>
void softmax_rows(Stream stream, int rows, int K, const M* x, M* y);
template <class T>
void dino_forward(Stream stream, const DinoLoss<T>& args, Master<T>* losses, Master<T>* rows);
template <class T>
void dino_backward(Stream stream, const DinoLoss<T>& args, const Master<T>* rows, double weight,
                   T* dstudent, GradMode mode);

}  // namespace mono
