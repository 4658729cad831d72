// The tokens of a vision transformer:
//   y(n, 0) = cls + pos(0),   y(n, 1 + i) = patches(n, i) + bias + P(i)
// P: the position embedding of the patches' grid, resampled from the one that was learnt
// (position_weights.h): P = Wy E Wx^T for every channel, two products with small matrices, and
// their transposes for the gradient of E. Sums over images run in image order, in double. Traffic:
// patches and y once, the embedding a few times. Dosovitskiy et al. (2021).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"
#include "kernels/tokens/position_weights.h"

namespace mono {

struct TokensProblem {
  int N, H, W, D;  // patches (N,H,W,D), packed; y (N,1+HW,D)
  int grid;        // pos (1 + grid^2, D): CLS, then the grid row by row
  PositionRule rule = PositionRule::cdcl;

  int patches() const { return H * W; }
  int tokens() const { return 1 + H * W; }
  bool resampled() const { return H != grid || W != grid; }
  std::string to_string() const;
};
size_t tokens_workspace_bytes(const TokensProblem& problem, DType dtype);

template <class T>
struct TokensForward {
  const T* patches;
  const Master<T>*cls, *pos;
  const Master<T>* bias = nullptr;  // (D) of the patch embedding; may be null
  T* y;
};
// On the stream's device.
template <class T>
void tokens_forward(Stream stream, const TokensProblem& problem, const TokensForward<T>& args,
                    std::span<std::byte> workspace);

template <class T>
struct TokensBackward {
  const T* dy;
  Master<T>*dcls, *dpos;
  GradMode dcls_mode = GradMode::overwrite, dpos_mode = GradMode::overwrite;
  Master<T>* dbias = nullptr;  // null: there is no bias
  GradMode dbias_mode = GradMode::overwrite;
  T* dpatches = nullptr;  // null: not wanted
  GradMode dpatches_mode = GradMode::overwrite;
};
template <class T>
void tokens_backward(Stream stream, const TokensProblem& problem, const TokensBackward<T>& args,
                     std::span<std::byte> workspace);

}  // namespace mono
