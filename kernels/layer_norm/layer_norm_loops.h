// The vectorised loops of layer normalisation, over a run of rows; also for a matrix product's
// prologue and epilogue (kernels/linear). Not for callers.
#pragma once

#include "kernels/base/simd_dispatch.h"
#include "kernels/layer_norm/layer_norm.h"

namespace mono {

// Rows that make a unit of a sum over rows: by the problem only.
inline constexpr int kLayerNormRows = 64;

// Throws unless the problem makes sense.
void check_layer_norm(const char* operation, const LayerNormProblem& problem);

// dgamma and dbeta from `partial` (units, 2, D): added in unit order, in double.
template <class M>
void layer_norm_merge_units(int D, int64_t units, const M* partial, M* dgamma, GradMode dgamma_mode,
                            M* dbeta, GradMode dbeta_mode);

MONO_DECLARE_SIMD(template <class T> void layer_norm_statistics_rows(int rows, int D, double eps,
                                                                     const T* x, Master<T>* mean,
                                                                     Master<T>* inv_std))
// y has a pitch of its own.
MONO_DECLARE_SIMD(template <class T>
                  void layer_norm_apply_rows(int rows, int D, const T* x, const Master<T>* mean,
                                             const Master<T>* inv_std, const Master<T>* gamma,
                                             const Master<T>* beta, T* y, int64_t ldy))
// G (T or Master<T>) is the type of the incoming gradient, dy at pitch lddy. dx may be null;
// dgamma and dbeta (D) are added to.
MONO_DECLARE_SIMD(template <class G, class T> void layer_norm_backward_rows(
    int rows, int D, const G* dy, int64_t lddy, const T* x, const Master<T>* mean,
    const Master<T>* inv_std, const Master<T>* gamma, T* dx, bool accumulate, Master<T>* dgamma,
    Master<T>* dbeta))

}  // namespace mono
