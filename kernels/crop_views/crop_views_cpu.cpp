// Views on the CPU, one a unit: every channel is resized to uint8 as OpenCV does it, first along
// rows, then across them; what follows is a function of a byte, so a table of 256 values a channel
// says it all, and the last pass only looks up, turns and interleaves.
#include <algorithm>

#include "kernels/base/linear_resize.h"
#include "kernels/base/thread_pool.h"
#include "kernels/base/workspace.h"
#include "kernels/crop_views/crop_views.h"

namespace mono {

void crop_views_check(const CropViewsProblem& p, const CropView* views) {
  MONO_CHECK(p.N >= 0 && p.C >= 1 && p.H >= 1 && p.W >= 1 && p.M >= 0 && p.P >= 1 &&
                 (p.ldy == 0 || p.ldy >= p.C) && int64_t{p.H} * p.W < (int64_t{1} << 31),
             "crop_views: n{} c{} h{}w{} to {} views of {}, ldy {}", p.N, p.C, p.H, p.W, p.M, p.P,
             p.ldy);
  for (int m = 0; views && m < p.M; ++m) {
    const CropView& v = views[m];
    MONO_CHECK(v.image >= 0 && v.image < p.N && v.dihedral >= 0 && v.dihedral < 8,
               "crop_views: view {}: image {} of {}, dihedral element {}", m, v.image, p.N,
               v.dihedral);
    MONO_CHECK(v.h >= 1 && v.w >= 1 && v.y >= 0 && v.x >= 0 && v.h <= p.H - v.y && v.w <= p.W - v.x,
               "crop_views: view {}: a box of {} x {} at ({}, {}) leaves the plane of {} x {}", m,
               v.h, v.w, v.y, v.x, p.H, p.W);
  }
}

namespace {

// What one thread needs for a view.
template <class T>
struct CropScratch {
  uint8_t* square;      // (C,P,P) resized
  LinearTap* columns;   // (P)
  int16_t* blended[2];  // (P) each: two rows of the box, blended along the columns
  T* table;             // (C,256) what becomes of a byte
};

template <class T>
CropScratch<T> take_scratch(WorkspaceLayout& work, const CropViewsProblem& p) {
  CropScratch<T> scratch;
  scratch.square = work.take<uint8_t>(int64_t{p.C} * p.P * p.P);
  scratch.columns = work.take<LinearTap>(p.P);
  for (int16_t*& row : scratch.blended) row = work.take<int16_t>(p.P);
  scratch.table = work.take<T>(int64_t{p.C} * 256);
  return scratch;
}

void blend_columns(int P, const LinearTap* columns, const uint8_t* row, int16_t* blended) {
  for (int j = 0; j < P; ++j)
    blended[j] = static_cast<int16_t>(
        linear_blend(columns[j], row[columns[j].first], row[columns[j].second]));
}

// Vectorised by the compiler: 16-bit products, upper halves.
void blend_rows(int P, const LinearTap& tap, const int16_t* first, const int16_t* second,
                uint8_t* out) {
  const int16_t v0 = static_cast<int16_t>(tap.first_weight);
  const int16_t v1 = static_cast<int16_t>(tap.second_weight);
  for (int j = 0; j < P; ++j) out[j] = linear_pixel(v0, v1, first[j], second[j]);
}

// One channel's box to a square. A row of the box is blended once for the rows that it is part of,
// which follow each other.
template <class T>
void resize(const CropViewsProblem& p, const CropView& view, const uint8_t* plane,
            const CropScratch<T>& scratch, uint8_t* square) {
  int held[2] = {-1, -1};
  const auto blended = [&](int row) {
    const int slot = row & 1;
    if (held[slot] != row)
      blend_columns(p.P, scratch.columns, plane + int64_t{view.y + row} * p.W + view.x,
                    scratch.blended[slot]);
    held[slot] = row;
    return scratch.blended[slot];
  };
  for (int i = 0; i < p.P; ++i) {
    const LinearTap tap = linear_tap(i, p.P, view.h);
    const int16_t *first = blended(tap.first), *second = blended(tap.second);
    blend_rows(p.P, tap, first, second, square + int64_t{i} * p.P);
  }
}

// The square as the output: rows in blocks, so that an element that transposes still reads whole
// cache lines.
template <class T>
void turn(const CropViewsProblem& p, int dihedral, const uint8_t* square, const T* table, T* out) {
  constexpr int kBlock = 16;
  const int C = p.C, P = p.P, ldy = p.ldy ? p.ldy : C, last = P - 1;
  const bool horizontal = dihedral & 1, vertical = dihedral & 2, transpose = dihedral & 4;
  const int64_t area = int64_t{P} * P;
  const int64_t down = (vertical ? -1 : 1) * (transpose ? 1 : P);
  const int64_t right = (horizontal ? -1 : 1) * (transpose ? P : 1);
  const int64_t start = (vertical ? -last * down : 0) + (horizontal ? -last * right : 0);
  for (int begin = 0; begin < P; begin += kBlock)
    for (int w = 0; w < P; ++w)
      for (int h = begin; h < std::min(P, begin + kBlock); ++h) {
        const uint8_t* const from = square + start + h * down + w * right;
        T* const y = out + (int64_t{h} * P + w) * ldy;
        for (int c = 0; c < C; ++c) y[c] = table[c * 256 + from[c * area]];
        for (int c = C; c < ldy; ++c) y[c] = T(0);
      }
}

}  // namespace

size_t crop_views_workspace_bytes(Device device, const CropViewsProblem& problem, DType dtype) {
  if (device != Device::cpu) return 0;
  WorkspaceLayout layout;
  dispatch_activation(dtype, [&]<class T>() {
    for (int thread = 0; thread < num_threads(); ++thread) take_scratch<T>(layout, problem);
  });
  return layout.used();
}

template <class T>
void crop_views(const CropViewsProblem& problem, const uint8_t* planes, const CropView* views,
                const float* gain, const float* shift, const float* mean, const float* inv_std,
                T* out, std::span<std::byte> workspace) {
  using M = Master<T>;
  crop_views_check(problem, views);
  const int C = problem.C, P = problem.P;
  const int64_t area = int64_t{problem.H} * problem.W;
  const size_t per_thread = crop_views_workspace_bytes(Device::cpu, problem, kDTypeOf<T>) /
                            static_cast<size_t>(num_threads());
  WorkspaceLayout("crop_views", workspace)
      .take<std::byte>(static_cast<int64_t>(per_thread) * num_threads());
  parallel_for(problem.M, [&](int64_t m, int worker) {
    WorkspaceLayout work("crop_views",
                         workspace.subspan(per_thread * static_cast<size_t>(worker), per_thread));
    const CropScratch<T> scratch = take_scratch<T>(work, problem);
    const CropView& view = views[m];
    for (int j = 0; j < P; ++j) scratch.columns[j] = linear_tap(j, P, view.w);
    for (int c = 0; c < C; ++c) {
      const int64_t own = m * C + c, source = int64_t{view.image} * C + c;
      resize(problem, view, planes + source * area, scratch, scratch.square + int64_t{c} * P * P);
      for (int count = 0; count < 256; ++count)
        scratch.table[c * 256 + count] =
            T((static_cast<M>(count) / M(255) * M(gain[own]) + M(shift[own]) - M(mean[source])) *
              M(inv_std[source]));
    }
    turn(problem, view.dihedral, scratch.square, scratch.table,
         out + m * P * P * (problem.ldy ? problem.ldy : C));
  });
}

#define MONO_INSTANTIATE(T)                                                                        \
  template void crop_views(const CropViewsProblem&, const uint8_t*, const CropView*, const float*, \
                           const float*, const float*, const float*, T*, std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
