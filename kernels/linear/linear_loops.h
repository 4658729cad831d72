// The vectorised loops of variant `fused`. Not for callers.
#pragma once

#include "kernels/base/simd_dispatch.h"
#include "kernels/linear/linear_engine.h"

namespace mono {

// y = add + factor (c + bias) for rows of `columns`; bias, factors (one a row) and add may be null.
// add and y have pitch ldy, add may be y.
template <class T>
struct LinearStore {
  int rows, columns;
  const Master<T>* c;
  int64_t ldc;
  const Master<T>* bias;
  const float* factors;
  const T* add;
  T* y;
  int64_t ldy;
};
MONO_DECLARE_SIMD(template <class T> void linear_store_rows(const LinearStore<T>& store))

// GELU's backward and its forward at once: dx (+)= factor c gelu'(x), z = gelu(x).
template <class T>
struct LinearGelu {
  int rows, columns;
  const Master<T>* c;  // null: z only
  int64_t ldc;
  const float* factors;  // null: 1
  const T* x;
  T* dx;  // at pitch ldx, as x; null: z only
  int64_t ldx;
  bool accumulate;
  T* z;  // null: dx only
  int64_t ldz;
};
MONO_DECLARE_SIMD(template <class T> void linear_gelu_rows(const LinearGelu<T>& gelu))

// Of TileEngine; see linear_engine.h.
MONO_DECLARE_SIMD(template <class T> void tile_pack_transposed(const Master<T>* w, int out, int in,
                                                               int n, Master<T>* panel))
MONO_DECLARE_SIMD(template <class T>
                  void tile_pack(const Master<T>* w, int out, int in, int n, Master<T>* panel))
MONO_DECLARE_SIMD(template <class T> void tile_pack_z(int rows, int columns, const T* z,
                                                      int64_t ldz, Master<T>* panel))
MONO_DECLARE_SIMD(template <class T>
                  void tile_pack_gradient(const GradientRows<T>& rows, int chunk, Master<T>* g))

}  // namespace mono
