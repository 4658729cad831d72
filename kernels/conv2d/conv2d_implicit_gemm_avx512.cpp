// implicit_gemm on AVX-512, f32: a register tile of 8 rows by 48 columns (24 accumulators, three
// filter vectors, one broadcast), which divides every shape of DenseNet-161.
#include "kernels/conv2d/conv2d_implicit_gemm_rows.h"
#include "kernels/conv2d/conv2d_implicit_gemm_tile8x48.h"
#include "kernels/conv2d/conv2d_implicit_gemm_wgrad.h"

namespace mono::implicit_gemm {
namespace {

struct FloatProduct {
  using T = float;
  static constexpr int kPack = 1;
  static MONO_INLINE Vec multiply_add(Vec acc, Vec a, Vec b) { return _mm512_fmadd_ps(a, b, acc); }
};

struct MicroKernel : Tile8x48<FloatProduct> {
  // g itself, pixel by pixel: rows of a chunk are consecutive pixels.
  static const Word* gradient_of(const WgradProblem<float>& p, int, int64_t first_row, int k0) {
    return p.g + first_row * p.Q * p.ldg + k0;
  }
  static int64_t gradient_step(const WgradProblem<float>& p) {
    return int64_t(p.chunk_rows) * p.Q * p.ldg;
  }
  static int64_t gradient_ld(const WgradProblem<float>& p) { return p.ldg; }
};

// ---- reductions over units ----

struct Half {  // 16 doubles
  __m512d low, high;
};
MONO_INLINE Half to_double(Vec v) {
  return {_mm512_cvtps_pd(_mm512_castps512_ps256(v)),
          _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))};
}
MONO_INLINE Vec to_float(__m512d low, __m512d high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}

// (count, mean, M2) of 8 columns, and Chan's rule for adding a unit that holds `rows` rows with the
// given shift, sum and sum of squares of (y - shift).
struct Moments {
  __m512d mean = _mm512_setzero_pd(), m2 = _mm512_setzero_pd();

  MONO_INLINE void merge(double count, double rows, __m512d shift, __m512d sum, __m512d squares) {
    const __m512d offset = _mm512_div_pd(sum, _mm512_set1_pd(rows));
    const __m512d unit_mean = _mm512_add_pd(shift, offset);
    const __m512d unit_m2 = _mm512_fnmadd_pd(offset, sum, squares);
    const __m512d delta = _mm512_sub_pd(unit_mean, mean);
    const double weight = rows / (count + rows);
    mean = _mm512_fmadd_pd(delta, _mm512_set1_pd(weight), mean);
    m2 = _mm512_add_pd(
        m2, _mm512_fmadd_pd(_mm512_mul_pd(delta, delta), _mm512_set1_pd(count * weight), unit_m2));
  }
};

void merge_moments(const float* slots, int64_t slot_floats, int units, int columns, float* mean,
                   float* variance) {
  const int64_t ld = (columns + 15) / 16 * 16;
  for (int n = 0; n < columns; n += 16) {
    Moments low, high;
    double count = 0;
    for (int unit = 0; unit < units; ++unit) {
      const float* slot = slots + unit * slot_floats;
      const double rows = slot[0];
      const float* values = slot + kPartialHeader + n;
      const Half shift = to_double(_mm512_loadu_ps(values));
      const Half sum = to_double(_mm512_loadu_ps(values + ld));
      const Half squares = to_double(_mm512_loadu_ps(values + 2 * ld));
      low.merge(count, rows, shift.low, sum.low, squares.low);
      high.merge(count, rows, shift.high, sum.high, squares.high);
      count += rows;
    }
    const __mmask16 mask = first_lanes(columns - n);
    const __m512d zero = _mm512_setzero_pd(), total = _mm512_set1_pd(count);
    store(mean + n, mask, to_float(low.mean, high.mean));
    store(variance + n, mask,
          to_float(_mm512_max_pd(zero, _mm512_div_pd(low.m2, total)),
                   _mm512_max_pd(zero, _mm512_div_pd(high.m2, total))));
  }
}

void merge_sums(const float* slots, int64_t slot_floats, int units, int columns, float* sum0,
                float* sum1, bool accumulate) {
  const int64_t ld = (columns + 15) / 16 * 16;
  for (int n = 0; n < columns; n += 16)
    for (int which = 0; which < 2; ++which) {
      __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
      for (int unit = 0; unit < units; ++unit) {
        const Half v = to_double(
            _mm512_loadu_ps(slots + unit * slot_floats + kPartialHeader + which * ld + n));
        low = _mm512_add_pd(low, v.low);
        high = _mm512_add_pd(high, v.high);
      }
      float* sum = which == 0 ? sum0 : sum1;
      if (!sum) continue;
      const __mmask16 mask = first_lanes(columns - n);
      const Vec total = to_float(low, high);
      store(sum + n, mask, accumulate ? _mm512_add_ps(load(sum + n, mask), total) : total);
    }
}

void add_partials(float* dw, const float* partials, int64_t pitch, int count, int64_t begin,
                  int64_t end) {
  for (int64_t i = begin; i < end; i += 16) {
    const __mmask16 mask = first_lanes(int(end - i < 16 ? end - i : 16));
    Vec v = load(dw + i, mask);
    for (int part = 0; part < count; ++part)
      v = _mm512_add_ps(v, load(partials + part * pitch + i, mask));
    store(dw + i, mask, v);
  }
}

}  // namespace

const Kernels<float> kAvx512 = {
    .pack = 1,
    .tile_m = MicroKernel::kTileM,
    .panels = MicroKernel::kPanels,
    .row_group = MicroKernel::kRowGroup,
    .word_align = MicroKernel::kWordAlign,
    .chunk_words_wanted = 128,
    .wgrad_panels_wanted = 3,
    .packs_gradient = false,
    .pack_filter = pack_filter_panel<MicroKernel>,
    .fprop_unit = run_fprop_unit<MicroKernel>,
    .dgrad_unit = run_dgrad_unit<MicroKernel, float>,
    .dgrad_unit_master = run_dgrad_unit<MicroKernel, float>,
    .gradient = apply_gradient_prologue<float, float>,
    .gradient_master = apply_gradient_prologue<float, float>,
    .pack_gradient = nullptr,
    .wgrad_unit = run_wgrad_unit<MicroKernel>,
};

const Reductions kReductions = {merge_moments, merge_sums, add_partials};

}  // namespace mono::implicit_gemm
