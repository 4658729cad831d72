#include "kernels/gelu/gelu_vector.h"
#include "kernels/linear/linear_loops.h"

namespace mono::MONO_ISA {
namespace {

// A value of master precision as an activation of type T holds it.
template <class T>
MONO_INLINE Master<T> rounded(Master<T> v) {
  T stored;
  store(&stored, v);
  return load(&stored);
}

MONO_INLINE void transpose_4x4(const float* from, int64_t ld, float* to, int64_t ld_to) {
  const __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + ld);
  const __m128 c = _mm_loadu_ps(from + 2 * ld), d = _mm_loadu_ps(from + 3 * ld);
  const __m128 ab = _mm_unpacklo_ps(a, b), cd = _mm_unpacklo_ps(c, d);
  const __m128 ab_high = _mm_unpackhi_ps(a, b), cd_high = _mm_unpackhi_ps(c, d);
  _mm_storeu_ps(to, _mm_movelh_ps(ab, cd));
  _mm_storeu_ps(to + ld_to, _mm_movehl_ps(cd, ab));
  _mm_storeu_ps(to + 2 * ld_to, _mm_movelh_ps(ab_high, cd_high));
  _mm_storeu_ps(to + 3 * ld_to, _mm_movehl_ps(cd_high, ab_high));
}

MONO_INLINE int least(int a, int b) {
  return a < b ? a : b;
}

}  // namespace

template <class T>
void linear_store_rows(const LinearStore<T>& s) {
  using M = Master<T>;
  for (int r = 0; r < s.rows; ++r) {
    const M* const c = s.c + r * s.ldc;
    T* const y = s.y + r * s.ldy;
    const M factor = s.factors ? static_cast<M>(s.factors[r]) : M(1);
    if (s.bias && s.add) {
      const T* const add = s.add + r * s.ldy;
      MONO_VECTORISE
      for (int i = 0; i < s.columns; ++i)
        store(y + i, madd(factor, c[i] + s.bias[i], load(add + i)));
    } else if (s.bias) {
      MONO_VECTORISE
      for (int i = 0; i < s.columns; ++i) store(y + i, factor * (c[i] + s.bias[i]));
    } else if (s.add) {
      const T* const add = s.add + r * s.ldy;
      MONO_VECTORISE
      for (int i = 0; i < s.columns; ++i) store(y + i, madd(factor, c[i], load(add + i)));
    } else {
      MONO_VECTORISE
      for (int i = 0; i < s.columns; ++i) store(y + i, factor * c[i]);
    }
  }
}

template <class T>
void linear_gelu_rows(const LinearGelu<T>& g) {
  using M = Master<T>;
  constexpr int kMost =
      TileEngine<T>::kPanel > AmxEngine::kPanel ? TileEngine<T>::kPanel : AmxEngine::kPanel;
  M widened[kMost], values[kMost], slopes[kMost];
  for (int r = 0; r < g.rows; ++r) {
    const M* x;
    if constexpr (sizeof(T) == sizeof(M)) {
      x = g.x + r * g.ldx;
    } else {
      widen_block(g.columns, g.x + r * g.ldx, widened);
      x = widened;
    }
    T* const z = g.z + r * g.ldz;
    if constexpr (sizeof(T) == sizeof(M)) {
      gelu_values_and_slopes(g.columns, x, z, slopes);
    } else {
      gelu_values_and_slopes(g.columns, x, values, slopes);
      narrow_block(g.columns, values, z);
    }
    if (!g.dx) continue;
    const M* const c = g.c + r * g.ldc;
    T* const dx = g.dx + r * g.ldx;
    const M factor = g.factors ? static_cast<M>(g.factors[r]) : M(1);
    if (g.accumulate) {
      MONO_VECTORISE
      for (int i = 0; i < g.columns; ++i)
        store(dx + i, madd(factor * c[i], slopes[i], load(dx + i)));
    } else {
      MONO_VECTORISE
      for (int i = 0; i < g.columns; ++i) store(dx + i, factor * c[i] * slopes[i]);
    }
  }
}

template <class T>
void tile_pack_transposed(const Master<T>* w, int out, int in, int n, Master<T>* panel) {
  constexpr int kPanel = TileEngine<T>::kPanel, kBlock = 16;
  const int columns = least(kPanel, out - n);
  for (int k0 = 0; k0 < in; k0 += kBlock) {
    const int end = least(k0 + kBlock, in);
    if constexpr (std::is_same_v<T, float>)
      if (columns == kPanel && end - k0 == kBlock) {
        for (int j = 0; j < kPanel; j += 4)
          for (int k = k0; k < end; k += 4)
            transpose_4x4(w + int64_t{n + j} * in + k, in, panel + int64_t{k} * kPanel + j, kPanel);
        continue;
      }
    for (int j = 0; j < kPanel; ++j) {
      const Master<T>* const row = w + int64_t{n + j} * in;
      for (int k = k0; k < end; ++k)
        panel[int64_t{k} * kPanel + j] = j < columns ? rounded<T>(row[k]) : Master<T>(0);
    }
  }
}

template <class T>
void tile_pack(const Master<T>* w, int out, int in, int n, Master<T>* panel) {
  constexpr int kPanel = TileEngine<T>::kPanel;
  const int columns = least(kPanel, in - n);
  for (int k = 0; k < out; ++k, panel += kPanel) {
    const Master<T>* const row = w + int64_t{k} * in + n;
    if (columns == kPanel) {
      for (int j = 0; j < kPanel; ++j) panel[j] = rounded<T>(row[j]);
    } else {
      for (int j = 0; j < columns; ++j) panel[j] = rounded<T>(row[j]);
      for (int j = columns; j < kPanel; ++j) panel[j] = 0;
    }
  }
}

template <class T>
void tile_pack_z(int rows, int columns, const T* z, int64_t ldz, Master<T>* panel) {
  constexpr int kPanel = TileEngine<T>::kPanel;
  for (int r = 0; r < rows; ++r, z += ldz, panel += kPanel) {
    if (columns == kPanel) {
      for (int j = 0; j < kPanel; ++j) panel[j] = load(z + j);
    } else {
      for (int j = 0; j < columns; ++j) panel[j] = load(z + j);
      for (int j = columns; j < kPanel; ++j) panel[j] = 0;
    }
  }
}

template <class T>
void tile_pack_gradient(const GradientRows<T>& p, int chunk, Master<T>* g) {
  using M = Master<T>;
  constexpr int kFilters = TileEngine<T>::kFilters, kStrip = 2 * kFilters;  // whole cache lines
  for (int o = 0; o < p.out; o += kStrip, g += int64_t{chunk} * kStrip)
    for (int half = 0; half < 2 && o + half * kFilters < p.out; ++half) {
      const int first = o + half * kFilters, count = least(kFilters, p.out - first);
      M* to = g + int64_t{chunk} * half * kFilters;
      M sums[kFilters] = {};
      for (int r = 0; r < p.rows; ++r, to += kFilters) {
        const T* const dy = p.dy + int64_t{r} * p.out + first;
        const M factor = p.factors ? static_cast<M>(p.factors[r]) : M(1);
        if (count == kFilters) {
          for (int i = 0; i < kFilters; ++i) {
            to[i] = rounded<T>(load(dy + i) * factor);
            sums[i] += to[i];
          }
        } else {
          for (int i = 0; i < count; ++i) {
            to[i] = rounded<T>(load(dy + i) * factor);
            sums[i] += to[i];
          }
          for (int i = count; i < kFilters; ++i) to[i] = 0;
        }
      }
      if (p.sums)
        for (int i = 0; i < count; ++i) p.sums[first + i] = sums[i];
    }
}

#define MONO_INSTANTIATE(T)                                                           \
  template void linear_store_rows<T>(const LinearStore<T>&);                          \
  template void linear_gelu_rows<T>(const LinearGelu<T>&);                            \
  template void tile_pack_transposed<T>(const Master<T>*, int, int, int, Master<T>*); \
  template void tile_pack<T>(const Master<T>*, int, int, int, Master<T>*);            \
  template void tile_pack_z<T>(int, int, const T*, int64_t, Master<T>*);              \
  template void tile_pack_gradient<T>(const GradientRows<T>&, int, Master<T>*);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono::MONO_ISA
