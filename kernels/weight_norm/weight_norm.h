// Weight normalisation of a matrix (Salimans and Kingma 2016), a norm a row: the last layer of
// DINO's head, whose rows are prototypes of length g.
//
//   w = g v / ||v||
//   dg = dw . v / ||v||;   dv = g / ||v|| (dw - v (dw . v) / ||v||^2)
//
// Sums in double. A row of zeros has no direction and gives NaN, as in PyTorch. Traffic: forward
// reads v and writes w; backward reads dw and v (twice, from the second time on out of the cache)
// and writes dv. 4096 x 512 in f32 is 8 MB an array, 5 us each way at 3.35 TB/s.
#pragma once

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

// v, w (rows, C) packed; g (rows). norms (rows) receives ||v||, for backward. M is f32 or f64.
template <class M>
void weight_norm_forward(int rows, int C, const M* v, const M* g, M* w, M* norms);
template <class M>
struct WeightNormBackward {
  const M* v = nullptr;
  const M* g = nullptr;
  const M* norms = nullptr;
  const M* dw = nullptr;  // (rows, C)
  M* dv = nullptr;        // (rows, C)
  GradMode dv_mode = GradMode::overwrite;
  M* dg = nullptr;  // (rows); null: g is frozen
  GradMode dg_mode = GradMode::overwrite;
};
template <class M>
void weight_norm_backward(int rows, int C, const WeightNormBackward<M>& args);

// The same on the stream's device.
template <class M>
void weight_norm_forward(Stream stream, int rows, int C, const M* v, const M* g, M* w, M* norms);
template <class M>
void weight_norm_backward(Stream stream, int rows, int C, const WeightNormBackward<M>& args);

}  // namespace mono
