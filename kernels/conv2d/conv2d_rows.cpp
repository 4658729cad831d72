#include "kernels/conv2d/conv2d_rows.h"

#include "kernels/base/simd_dispatch.h"

namespace mono {

MONO_DECLARE_SIMD(template <class T, class Z> void pack_rows(const PackRows<T, Z>&, int64_t))
MONO_DECLARE_SIMD(template <class T, class G, class Z>
                  void gradient_rows(const GradientRows<T, G, Z>&, int64_t))
MONO_DECLARE_SIMD(template <class T>
                  void store_rows(const Master<T>*, int64_t, int, int64_t, T*, int64_t))
MONO_DECLARE_SIMD(template <class T>
                  void moments_rows(const T*, int64_t, int, int64_t, double*, double*))
MONO_DECLARE_SIMD(template <class T, class G>
                  void input_gradient_rows(const InputGradientRows<T, G>&, int64_t))

template <class T, class Z>
void pack_rows(const PackRows<T, Z>& rows, int64_t n) {
  MONO_SIMD(pack_rows(rows, n));
}
template <class T, class GradT, class Z>
void gradient_rows(const GradientRows<T, GradT, Z>& rows, int64_t n) {
  MONO_SIMD(gradient_rows(rows, n));
}
template <class T>
void store_rows(const Master<T>* source, int64_t ld_source, int K, int64_t n, T* y, int64_t ldy) {
  MONO_SIMD(store_rows<T>(source, ld_source, K, n, y, ldy));
}
template <class T>
void moments_rows(const T* y, int64_t ldy, int K, int64_t n, double* mean, double* m2) {
  MONO_SIMD(moments_rows(y, ldy, K, n, mean, m2));
}
template <class T, class GradT>
void input_gradient_rows(const InputGradientRows<T, GradT>& rows, int64_t n) {
  MONO_SIMD(input_gradient_rows(rows, n));
}

#include "kernels/conv2d/conv2d_rows_instances.h"

}  // namespace mono
