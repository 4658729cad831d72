// Augmentation on the CPU: an output row per unit; each output element reads one or two bytes.
#include <cmath>

#include "kernels/augment/augment.h"
#include "kernels/augment/source_row.h"
#include "kernels/base/thread_pool.h"

namespace mono {

void augment_check(const AugmentProblem& p, const AugmentImage* images) {
  MONO_CHECK(
      p.N >= 0 && p.C >= 1 && p.P >= 1 && p.P <= p.H && p.P <= p.W && (p.ldy == 0 || p.ldy >= p.C),
      "augment: n{} c{} h{}w{} crop {} ldy {}", p.N, p.C, p.H, p.W, p.P, p.ldy);
  for (int n = 0; images && n < p.N; ++n) {
    const AugmentImage& i = images[n];
    MONO_CHECK(i.crop_y >= 0 && i.crop_y + p.P <= p.H && i.crop_x >= 0 && i.crop_x + p.P <= p.W,
               "augment: image {}: a crop of {} at ({}, {}) leaves the plane of {} x {}", n, p.P,
               i.crop_y, i.crop_x, p.H, p.W);
    MONO_CHECK(i.dihedral >= 0 && i.dihedral < 8 && i.partner >= 0 && i.partner < p.N,
               "augment: image {}: dihedral element {}, partner {} of {} images", n, i.dihedral,
               i.partner, p.N);
  }
}

void check_crop_sums(const AugmentProblem& problem) {
  MONO_CHECK(problem.P < 4096,
             "crop_statistics: a crop of {} overflows 64-bit sums; 4095 is the most", problem.P);
}

template <class T>
void augment(const AugmentProblem& problem, const uint8_t* planes, const AugmentImage* images,
             const float* mean, const float* inv_std, T* out) {
  using M = Master<T>;
  augment_check(problem, images);
  const int C = problem.C, P = problem.P, ldy = problem.ldy ? problem.ldy : C;
  const int64_t plane = int64_t{problem.H} * problem.W;
  parallel_for(int64_t{problem.N} * P, [&](int64_t unit, int) {
    const int n = static_cast<int>(unit / P), h = static_cast<int>(unit % P);
    const AugmentImage& image = images[n];
    const auto value = [&](int of, const SourceRow& row, int w, int c) {
      const uint8_t count = planes[(int64_t{of} * C + c) * plane + row.offset + w * row.step];
      const int64_t table = int64_t{of} * C + c;
      return (static_cast<M>(count) / M(255) - M(mean[table])) * M(inv_std[table]);
    };
    const SourceRow own = source_row(problem.P, problem.W, image, h);
    const SourceRow other = source_row(problem.P, problem.W, images[image.partner], h);
    const bool box_row = h >= image.box_y0 && h < image.box_y1;
    const M mix = static_cast<M>(image.mix);
    T* y = out + unit * P * ldy;
    for (int w = 0; w < P; ++w, y += ldy) {
      const bool boxed = box_row && w >= image.box_x0 && w < image.box_x1;
      for (int c = 0; c < C; ++c) {
        M v = boxed ? value(image.partner, other, w, c) : value(n, own, w, c);
        if (mix != M(1)) v = mix * v + (M(1) - mix) * value(image.partner, other, w, c);
        y[c] = T(v);
      }
      for (int c = C; c < ldy; ++c) y[c] = T(0);
    }
  });
}

void crop_statistics(const AugmentProblem& problem, const uint8_t* planes,
                     const AugmentImage* images, double* mean, double* std) {
  augment_check(problem, images);
  const int C = problem.C, P = problem.P;
  check_crop_sums(problem);
  parallel_for(int64_t{problem.N} * C, [&](int64_t unit, int) {
    const AugmentImage& image = images[unit / C];
    const uint8_t* row =
        planes + unit * problem.H * problem.W + int64_t{image.crop_y} * problem.W + image.crop_x;
    uint64_t sum = 0, sum_of_squares = 0;
    for (int h = 0; h < P; ++h, row += problem.W)
      for (int w = 0; w < P; ++w) {
        const uint64_t count = row[w];
        sum += count;
        sum_of_squares += count * count;
      }
    const uint64_t n = static_cast<uint64_t>(P) * P;
    const uint64_t scaled = n * sum_of_squares - sum * sum;
    mean[unit] = static_cast<double>(sum) / static_cast<double>(n);
    std[unit] = n > 1 ? std::sqrt(static_cast<double>(scaled) / static_cast<double>(n) /
                                  static_cast<double>(n - 1))
                      : 0.0;
  });
}

void standardisation_tables(int64_t n, const double* mean, const double* std, float* plane_mean,
                            float* plane_inv_std) {
  for (int64_t i = 0; i < n; ++i) {
    plane_mean[i] = static_cast<float>(mean[i] / 255);
    plane_inv_std[i] = static_cast<float>(1 / (std[i] / 255 + 1e-8));
  }
}

template void augment(const AugmentProblem&, const uint8_t*, const AugmentImage*, const float*,
                      const float*, float*);
template void augment(const AugmentProblem&, const uint8_t*, const AugmentImage*, const float*,
                      const float*, bf16*);
template void augment(const AugmentProblem&, const uint8_t*, const AugmentImage*, const float*,
                      const float*, double*);

}  // namespace mono
