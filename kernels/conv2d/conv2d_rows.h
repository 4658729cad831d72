// The passes over rows of pixels that surround a convolution: packing with the prologue, the
// deferred gradient, batch moments, the masked input gradient. All CPU variants share them, so a
// prologue or an epilogue means the same bits in each.
//
// "Rows" are n pixels of C channels at a pitch; nothing here knows of images or padding. Every
// function runs on the calling thread, vectorised for the CPU at hand.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"

namespace mono {

// z = prologue(x), rounded to T; Z is T or Master<T>. Null scale: a copy (with rounding).
template <class T, class Z>
struct PackRows {
  const T* x = nullptr;
  int64_t ldx = 0;
  const Master<T>* scale = nullptr;  // (C)
  const Master<T>* shift = nullptr;  // (C)
  Z* z = nullptr;
  int64_t ldz = 0;
  int C = 0;
};
template <class T, class Z>
void pack_rows(const PackRows<T, Z>& rows, int64_t n);

// g = a * dy + (b * y + c), rounded to T; Z is T or Master<T>. Null a is 1, null b drops b*y + c.
// g may alias dy where types and pitches agree.
template <class T, class GradT, class Z>
struct GradientRows {
  const GradT* dy = nullptr;
  int64_t lddy = 0;
  const T* y = nullptr;
  int64_t ldy = 0;
  const Master<T>* a = nullptr;  // (K) each
  const Master<T>* b = nullptr;
  const Master<T>* c = nullptr;
  Z* g = nullptr;
  int64_t ldg = 0;
  int K = 0;
};
template <class T, class GradT, class Z>
void gradient_rows(const GradientRows<T, GradT, Z>& rows, int64_t n);

// y = source rounded once to T.
template <class T>
void store_rows(const Master<T>* source, int64_t ld_source, int K, int64_t n, T* y, int64_t ldy);

// Mean and sum of squared deviations of n >= 1 rows, per channel. Sums are shifted by the first
// row and go over to double every few rows.
template <class T>
void moments_rows(const T* y, int64_t ldy, int K, int64_t n, double* mean, double* m2);

// The epilogue of dgrad (see ConvDgrad): mask, sums, multiply, store or add.
template <class T, class GradT>
struct InputGradientRows {
  const Master<T>* dz = nullptr;
  int64_t lddz = 0;
  const T* x = nullptr;
  int64_t ldx = 0;
  const Master<T>* scale = nullptr;  // null: no mask and no sums
  const Master<T>* shift = nullptr;
  const Master<T>* mean = nullptr;
  const Master<T>* multiply = nullptr;
  GradT* dx = nullptr;  // null: only the sums
  int64_t lddx = 0;
  bool accumulate = false;
  int C = 0;
  double* sum_dz = nullptr;   // (C), added to; null: not wanted
  double* sum_dzx = nullptr;  // (C), added to; null: not wanted
};
template <class T, class GradT>
void input_gradient_rows(const InputGradientRows<T, GradT>& rows, int64_t n);

}  // namespace mono
