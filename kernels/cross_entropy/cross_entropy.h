// Softmax cross-entropy against soft targets (CutMix, MixUp and label smoothing all make them).
//
//   loss_n = -sum_k t[n,k] * log softmax(y[n])_k ;   dy[n,k] = weight * (sum_j t[n,j] * p[n,k] -
//   t[n,k])
//
// Losses and reductions in Master<T>; log-sum-exp is shifted by the row maximum.
#pragma once

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

// logits (N,K) packed; targets (N,K) float, rows sum to 1; losses (N) receives loss_n.
// saved log-sum-exp (N) for backward.
template <class T>
void cross_entropy_forward(int N, int K, const T* logits, const float* targets, Master<T>* losses,
                           Master<T>* log_sum_exp);
// dlogits = weight * d loss_n / d logits, e.g. weight = 1/N for the mean.
template <class T>
void cross_entropy_backward(int N, int K, const T* logits, const float* targets,
                            const Master<T>* log_sum_exp, Master<T> weight, T* dlogits,
                            GradMode mode);

// What a step reports, added up where the losses are, so that it is read once, at the step's end.
// *total += weight * (sum of the losses, in double and in a fixed order)
template <class M>
void add_losses(int N, const M* losses, double weight, double* total);
// *right += weight * (number of rows whose largest logit is where the target is largest); of equal
// values the first counts, NaN is never larger.
template <class T>
void add_accuracy(int N, int K, const T* logits, const float* targets, double weight,
                  double* right);

// The same on the stream's device (a CPU stream: the functions above); totals too lie there.
template <class T>
void cross_entropy_forward(Stream stream, int N, int K, const T* logits, const float* targets,
                           Master<T>* losses, Master<T>* log_sum_exp);
template <class T>
void cross_entropy_backward(Stream stream, int N, int K, const T* logits, const float* targets,
                            const Master<T>* log_sum_exp, Master<T> weight, T* dlogits,
                            GradMode mode);
template <class M>
void add_losses(Stream stream, int N, const M* losses, double weight, double* total);
// `correct` (N): scratch.
template <class T>
void add_accuracy(Stream stream, int N, int K, const T* logits, const float* targets, double weight,
                  double* right, int* correct);

}  // namespace mono
