// A linear layer with what surrounds it in a transformer block:
//   z = x, LayerNorm(x) or GELU(x)                     prologue, recomputed in backward
//   y = residual + keep[n] (z w^T + bias)              epilogue; residual, keep, bias may be
//   missing
// Backward, from dy:  g = keep[n] dy
//   dw (+)= g^T z,  dbias (+)= sums of g over rows,  dz = g w
//   dx (+)= dz through the prologue; dgamma, dbeta (+)= of the LayerNorm
// (the residual's gradient is dy itself: the caller's). x (rows, in), y (rows, out), packed; w
// (out, in), in master precision. In bf16, z, g and w are rounded to bf16 and sums run in float.
//
// A block of a transformer keeps neither LayerNorm's nor GELU's output: only x and two numbers a
// row.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/matmul/matmul.h"

namespace mono {

enum class LinearPrologue { none, layer_norm, gelu };

struct LinearProblem {
  int rows, in, out;
  LinearPrologue prologue = LinearPrologue::none;
  double eps = 1e-6;      // of the LayerNorm
  int rows_per_keep = 1;  // image n has rows [n * rows_per_keep, (n + 1) * rows_per_keep)

  double flops() const { return 2.0 * rows * in * out; }  // of one product
  LayerNormProblem norm() const { return {rows, in, eps}; }
  std::string to_string() const;
};

enum class LinearVariant {
  reference,  // passes around the matrix product that is the definition; any device and type
  composed,   // passes around the device's quickest matrix product
  fused,      // CPU: prologue and epilogue on runs of rows in cache, own register tiles
};
std::string_view name_of(LinearVariant variant);
enum class LinearPass { forward, backward };
bool linear_supports(Device device, LinearVariant variant, const LinearProblem& problem,
                     DType dtype);
LinearVariant linear_choose(Device device, const LinearProblem& problem, DType dtype);
size_t linear_workspace_bytes(Device device, LinearVariant variant, LinearPass pass,
                              const LinearProblem& problem, DType dtype);

// gamma and beta (in) with a LayerNorm only; mean and inv_std (rows) are written then, unless both
// are null. y may be residual; it must not overlap x.
template <class T>
struct LinearForward {
  const T* x;
  const Master<T>* w;
  const Master<T>* bias = nullptr;
  const Master<T>*gamma = nullptr, *beta = nullptr;
  Master<T>*mean = nullptr, *inv_std = nullptr;
  const T* residual = nullptr;
  const float* keep = nullptr;
  T* y;
};
template <class T>
void linear_forward(Stream stream, LinearVariant variant, const LinearProblem& problem,
                    const LinearForward<T>& args, std::span<std::byte> workspace);

template <class T>
struct LinearGradient {  // of a parameter; null: not wanted
  Master<T>* data = nullptr;
  GradMode mode = GradMode::overwrite;
};
template <class T>
struct LinearBackward {
  const T *dy, *x;
  const Master<T>* w;
  const Master<T>*gamma = nullptr, *beta = nullptr, *mean = nullptr, *inv_std = nullptr;
  const float* keep = nullptr;
  LinearGradient<T> dw = {}, dbias = {}, dgamma = {}, dbeta = {};
  T* dx = nullptr;  // null: not wanted; must not overlap dy or x
  GradMode dx_mode = GradMode::overwrite;
};
template <class T>
void linear_backward(Stream stream, LinearVariant variant, const LinearProblem& problem,
                     const LinearBackward<T>& args, std::span<std::byte> workspace);

}  // namespace mono
