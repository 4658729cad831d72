// The inner loops of variant `blocked` beside its matrix products (attention.simd.cpp). One thread.
#pragma once

#include <cstdint>

#include "kernels/base/bf16.h"
#include "kernels/base/simd_dispatch.h"

namespace mono {

MONO_DECLARE_SIMD(
    // x (rows, columns), rows ld apart, as float: out (rows, ldo).
    template <class T>
    void attention_widen(int rows, int columns, const T* x, int64_t ld, float* out, int64_t ldo);
    // The same transposed: out (columns, ldo), rows beyond `rows` up to ldo as zeros.
    template <class T> void attention_transpose(int rows, int columns, const T* x, int64_t ld,
                                                float* out, int64_t ldo);
    // x (rows, columns), rows ldx apart -> y, rows ldy apart; factors (rows) or null: 1.
    template <class T> void attention_store(int rows, int columns, const float* x, int64_t ldx,
                                            const float* factors, T* y, int64_t ldy, bool add);
    // Scores s (rows, ld), the first `columns` of each, become exp(scale s - highest), where
    // `highest` is the largest scale s of the row. inverse_sums (rows): 1 / their sum; lse (rows):
    // highest + log of it. ld is a multiple of 16; columns up to ld become 0.
    void attention_softmax(int rows, int columns, float scale, float* s, int64_t ld,
                           float* inverse_sums, float* lse);
    // Scores s become P = exp(scale s - lse); dp becomes dS = scale P (dp - delta).
    void attention_gradient(int rows, int columns, float scale, const float* lse,
                            const float* delta, float* s, float* dp, int64_t ld);)

}  // namespace mono
