// Batch normalisation with statistics per segment, fused with residual add and ReLU
// (Ioffe and Szegedy 2015; a segment is one group or one domain, see RxRx1 section 4.2 for AdaBN).
//
//   mean[s,c], variance[s,c]  over the pixels of the images of segment s (variance biased)
//   xhat = (x - mean) / sqrt(variance + eps)
//   y    = relu(gamma * xhat + beta + residual)       ReLU and residual optional
//
// Backward, with dz = dy masked by y > 0 (ReLU) and m pixels a segment:
//   dbeta = sum_s sum dz;  dgamma = sum_s sum dz * xhat;  dresidual = dz
//   batch statistics:   dx = gamma/sigma * (dz - mean(dz) - xhat * mean(dz*xhat))
//   given statistics:   dx = gamma/sigma * dz
//
// Traffic: moments read x once; apply reads x (and residual), writes y; backward reads dy, x (y
// with a residual) twice and writes dx. Tables are (segments, C) in Master<T>.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

struct BatchNormProblem {
  int N, H, W, C;
  int ldx = 0;  // pixel pitch of x; 0: C
  int ldy = 0;  // pixel pitch of y, dy and the residual; 0: C
  double eps = 1e-5;
  bool relu = true;
  bool batch_statistics = true;  // backward: whether mean and variance depend on x

  double bytes(DType dtype) const;
  std::string to_string() const;
};

// mean, variance (biased): rows s at pitch `ld` (0: C). Shifted sums per unit, merged in double by
// Chan's rule in a fixed order; never E[x^2]-E[x]^2.
template <class T>
void batch_norm_moments(const BatchNormProblem& problem, const T* x, Segments segments,
                        Master<T>* mean, Master<T>* variance, int ld,
                        std::span<std::byte> workspace);

// scale = gamma / sqrt(variance + eps), shift = beta - mean * scale; tables (segments, C), the
// inputs with row pitch `ld` (0: C).
template <class M>
void batch_norm_fold(int segments, int C, double eps, const M* gamma, const M* beta, const M* mean,
                     const M* variance, int ld, M* scale, M* shift);

// y = act(scale * x + shift + residual). residual (N,H,W,C) pitch ldy, may be null, may alias y.
// y may alias x (same pitch).
template <class T>
void batch_norm_apply(const BatchNormProblem& problem, const T* x, Segments segments,
                      const Master<T>* scale, const Master<T>* shift, const T* residual, T* y);

template <class T>
struct BatchNormBackward {
  const T* dy = nullptr;             // (N,H,W,C) pitch ldy
  const T* x = nullptr;              // (N,H,W,C) pitch ldx
  const T* y = nullptr;              // needed with relu and a residual; else the mask is recomputed
                                     // as scale*x+shift > 0, exactly as forward computed it
  const Master<T>* gamma = nullptr;  // (C)
  const Master<T>* beta = nullptr;   // (C)
  const Master<T>* mean = nullptr;   // (segments, C) row pitch ld
  const Master<T>* variance = nullptr;
  int ld = 0;                   // 0: C
  Master<T>* dgamma = nullptr;  // (C), mode parameter_mode
  Master<T>* dbeta = nullptr;   // (C)
  GradMode parameter_mode = GradMode::overwrite;
  T* dx = nullptr;  // pitch ldx; may alias dy where the pitches agree
  GradMode dx_mode = GradMode::overwrite;
  T* dresidual = nullptr;  // pitch ldy; null: not wanted
  GradMode dresidual_mode = GradMode::overwrite;
  Segments segments;
};
template <class T>
void batch_norm_backward(const BatchNormProblem& problem, const BatchNormBackward<T>& args,
                         std::span<std::byte> workspace);

// running <- (1 - momentum) * running + momentum * mean over the rows of a table of statistics, in
// row order and in double, for all batch norms of a model at once: each owns a range of columns.
// The variance enters unbiased, n / (n - 1), n being the pixels behind the row's statistics.
template <class M>
struct BatchNormRunning {
  int rows = 0, layers = 0;
  int64_t columns = 0;
  const M* mean = nullptr;               // (rows, columns)
  const M* variance = nullptr;           // (rows, columns), biased
  const double* counts = nullptr;        // (rows, layers): n of a layer in a row, 2 or more
  const int* layer_of_column = nullptr;  // (columns)
  double momentum = 0.1;
  M* running_mean = nullptr;  // (columns)
  M* running_variance = nullptr;
};
template <class M>
void batch_norm_update_running(const BatchNormRunning<M>& args);

// Scratch for moments and backward, bytes.
size_t batch_norm_workspace_bytes(const BatchNormProblem& problem, DType dtype, int segments);
size_t batch_norm_workspace_bytes(Device device, const BatchNormProblem& problem, DType dtype,
                                  int segments);

// The same on the stream's device (a CPU stream: the functions above); all pointers there, and
// Segments with gpu_offsets.
enum class BatchNormVariant {
  naive,  // the definition: one thread a channel, or an element
  tiled   // units of pixels by tiles of channels, 16 bytes a load where base and pitch allow
};
template <class T>
void batch_norm_moments(Stream stream, const BatchNormProblem& problem, const T* x,
                        Segments segments, Master<T>* mean, Master<T>* variance, int ld,
                        std::span<std::byte> workspace,
                        BatchNormVariant variant = BatchNormVariant::tiled);
template <class M>
void batch_norm_fold(Stream stream, int segments, int C, double eps, const M* gamma, const M* beta,
                     const M* mean, const M* variance, int ld, M* scale, M* shift);
template <class T>
void batch_norm_apply(Stream stream, const BatchNormProblem& problem, const T* x, Segments segments,
                      const Master<T>* scale, const Master<T>* shift, const T* residual, T* y,
                      BatchNormVariant variant = BatchNormVariant::tiled);
template <class T>
void batch_norm_backward(Stream stream, const BatchNormProblem& problem,
                         const BatchNormBackward<T>& args, std::span<std::byte> workspace,
                         BatchNormVariant variant = BatchNormVariant::tiled);
template <class M>
void batch_norm_update_running(Stream stream, const BatchNormRunning<M>& args);

}  // namespace mono
