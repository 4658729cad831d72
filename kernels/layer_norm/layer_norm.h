// Layer normalisation of the rows of a packed (rows, D) matrix:
//   mean = sum(x) / D,  inv_std = 1 / sqrt(sum((x - mean)^2) / D + eps)
//   y = (x - mean) inv_std gamma + beta
//   dx = inv_std (g - sum(g) / D - xhat sum(g xhat) / D),  g = gamma dy,  xhat = (x - mean) inv_std
//   dgamma = sum over rows of dy xhat,  dbeta = sum over rows of dy
//
// Statistics are two numbers a row, in master precision, from two passes over the row while it is
// in cache (registers on the GPU): never E[x^2] - E[x]^2. Parameter gradients are summed in units
// of rows and merged in unit order. Traffic: forward x, y once; backward dy, x, dx once.
// Ba, Kiros, Hinton: Layer Normalization (2016).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

struct LayerNormProblem {
  int rows, D;
  double eps = 1e-6;
};

// Statistics and y; mean and inv_std (rows) may both be null, and so may y.
template <class T>
struct LayerNormForward {
  const T* x;
  const Master<T>*gamma, *beta;  // (D)
  Master<T>*mean, *inv_std;
  T* y;  // may alias x
};
template <class T>
void layer_norm_forward(const LayerNormProblem& problem, const LayerNormForward<T>& args);

// y from statistics that are there already.
template <class T>
struct LayerNormApply {
  const T* x;
  const Master<T>*gamma, *beta, *mean, *inv_std;
  T* y;  // may alias x
};
template <class T>
void layer_norm_apply(const LayerNormProblem& problem, const LayerNormApply<T>& args);

template <class T>
struct LayerNormBackward {
  const T *dy, *x;
  const Master<T>*gamma, *mean, *inv_std;
  T* dx = nullptr;  // null: not wanted; may alias dy unless it is accumulated into
  GradMode dx_mode = GradMode::overwrite;
  Master<T>*dgamma, *dbeta;
  GradMode dgamma_mode = GradMode::overwrite, dbeta_mode = GradMode::overwrite;
};
template <class T>
void layer_norm_backward(const LayerNormProblem& problem, const LayerNormBackward<T>& args,
                         std::span<std::byte> workspace);
size_t layer_norm_workspace_bytes(Device device, const LayerNormProblem& problem, DType dtype);

// What a GPU's kernel keeps a row in. Each gives the same result to a rounding.
enum class LayerNormVariant {
  naive,         // a thread a row, from memory; any type
  warp_per_row,  // a warp a row, in its registers, 16 bytes a load; D up to 1024, and where rows
                 // are not 16-byte aligned, up to 512: longer ones then run as naive
};
LayerNormVariant layer_norm_choose(const LayerNormProblem& problem, DType dtype);

// The same on the stream's device (a CPU stream: the functions above, whatever the variant).
template <class T>
void layer_norm_forward(Stream stream, LayerNormVariant variant, const LayerNormProblem& problem,
                        const LayerNormForward<T>& args);
template <class T>
void layer_norm_apply(Stream stream, LayerNormVariant variant, const LayerNormProblem& problem,
                      const LayerNormApply<T>& args);
template <class T>
void layer_norm_backward(Stream stream, LayerNormVariant variant, const LayerNormProblem& problem,
                         const LayerNormBackward<T>& args, std::span<std::byte> workspace);

}  // namespace mono
