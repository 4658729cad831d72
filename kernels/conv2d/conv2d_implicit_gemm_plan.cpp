#include "kernels/conv2d/conv2d_implicit_gemm_plan.h"

namespace mono::implicit_gemm {
namespace {

constexpr int64_t kUnitBytes = 384 << 10;  // of packed A: leaves room for B in a 1 MB L2 cache
constexpr int kUnitPixels = 256;
constexpr int64_t kLargeFilterBytes = 1 << 20;

// Fills in layout and unit size of a problem whose extents are set. Units depend on the extents of
// one image only: the statistics of a segment do not change with the rest of the batch.
void lay_out(RowsProblem& p, const Level& level) {
  const int element_words = int(ceil_div(p.C, level.pack));
  p.channel_words = element_words;
  const int tap_words = p.S * element_words;
  const bool taps = p.R > 0 && p.S > 0;
  const bool pointwise = p.R == 1 && p.S == 1 && p.stride == 1 && p.pad_h == 0 && p.pad_w == 0 &&
                         p.out_step == 1 && p.P == p.H && p.Q == p.W;
  const bool even_rows = p.Q % level.row_group == 0 && tap_words % level.word_align == 0;
  p.layout = pointwise                      ? ALayout::pointwise
             : p.S > 1 && taps && even_rows ? ALayout::halo
                                            : ALayout::im2col;
  // One run of all taps where padding each filter row's run would waste more than an eighth.
  p.merged_rows = p.layout == ALayout::im2col && p.R > 1 && taps &&
                  round_up(tap_words, level.word_align) * 8 > int64_t(tap_words) * 9;
  p.runs = !taps ? 0 : p.merged_rows ? 1 : p.R;
  const int used = tap_words * (p.merged_rows ? p.R : 1);
  p.run_words = int(round_up(used, level.word_align));
  p.pixel_words = p.run_words + 16;  // no power-of-two pitch: rows would share cache sets
  p.row_words = p.layout == ALayout::halo ? ((p.Q - 1) * p.stride + p.S) * p.channel_words
                                          : p.Q * p.pixel_words;

  if (pointwise) {
    const int64_t fitting = kUnitBytes / (p.pixel_words * int64_t(sizeof(Word)));
    const int64_t fair = std::max<int64_t>(32, int64_t(p.P) * p.Q / 4);
    const int64_t pixels = std::min({int64_t(kUnitPixels), fitting, fair});
    p.unit_pixels = int(std::max<int64_t>(1, pixels / level.tile_m)) * level.tile_m;
    p.unit_rows = p.unit_images = 0;
    p.rows_per_class = 0;
    p.image_words = 0;
    return;
  }
  const auto set_rows = [&](int rows) {
    p.unit_rows = int(ceil_div(p.P, ceil_div(p.P, rows)));  // evened out
    const int source_rows = taps ? (p.unit_rows - 1) * p.stride + p.R : 0;
    p.rows_per_class = int(ceil_div(source_rows, p.stride));
    const int64_t kept = p.layout == ALayout::halo ? source_rows
                         : p.merged_rows           ? p.unit_rows
                                                   : int64_t(p.rows_per_class) * p.stride;
    p.image_words = kept * p.row_words;
  };
  const auto too_large = [&] { return p.image_words * int64_t(sizeof(Word)) > kUnitBytes; };
  const int most_rows = p.P * p.Q >= 128 ? int(ceil_div(p.P, 2)) : p.P;
  set_rows(std::clamp(kUnitPixels / p.Q, 1, most_rows));
  while (p.unit_rows > 1 && too_large()) set_rows(int(ceil_div(p.unit_rows, 2)));
  // Small images share a unit; the more so where the filter is too large to be read for each.
  const int image_pixels = p.P * p.Q;
  const bool large_filter = filter_words(p) * int64_t(sizeof(Word)) > kLargeFilterBytes;
  p.unit_images = p.unit_rows == p.P && image_pixels % level.row_group == 0
                      ? std::max(1, (large_filter ? 128 : 32) / image_pixels)
                      : 1;
  p.unit_pixels = 0;
}

}  // namespace

RowsProblem plan_fprop(const ConvProblem& problem, const Level& level) {
  RowsProblem p{};
  p.H = problem.H, p.W = problem.W, p.C = problem.C;
  p.R = problem.R, p.S = problem.S, p.stride = problem.stride;
  p.pad_h = p.pad_w = problem.pad;
  p.P = p.out_H = problem.P(), p.Q = p.out_W = problem.Q();
  p.columns = problem.K;
  p.out_step = 1;
  lay_out(p, level);
  return p;
}

TapClass tap_class(const ConvProblem& problem, int row, int col) {
  // Tap r reaches input row h from output row (h + pad - r) / stride, where that is whole.
  const auto taps = [&](int residue, int extent, int& last) {
    const int first = (residue + problem.pad) % problem.stride;
    const int count = first < extent ? (extent - 1 - first) / problem.stride + 1 : 0;
    last = first + (count - 1) * problem.stride;
    return count;
  };
  TapClass c{};
  c.row = row, c.col = col;
  c.R = taps(row, problem.R, c.r_last);
  c.S = taps(col, problem.S, c.s_last);
  if (c.R == 0 || c.S == 0) c.R = c.S = 0;
  return c;
}

RowsProblem plan_dgrad(const ConvProblem& problem, const TapClass& taps, const Level& level) {
  const int step = problem.stride;
  RowsProblem p{};
  p.H = problem.P(), p.W = problem.Q(), p.C = problem.K;
  p.R = taps.R, p.S = taps.S, p.stride = 1;
  if (taps.R > 0) {
    p.pad_h = -(taps.row + problem.pad - taps.r_last) / step;
    p.pad_w = -(taps.col + problem.pad - taps.s_last) / step;
  }
  p.P = int(ceil_div(problem.H - taps.row, step));
  p.Q = int(ceil_div(problem.W - taps.col, step));
  p.columns = problem.C;
  p.out_H = problem.H, p.out_W = problem.W;
  p.out_step = step, p.out_row = taps.row, p.out_col = taps.col;
  lay_out(p, level);
  return p;
}

FilterPack fprop_filter(const ConvProblem& problem, const RowsProblem& rows, const float* w,
                        Word* packed) {
  return {.filter = w,
          .lane_stride = int64_t(problem.R) * problem.S * problem.C,
          .channel_stride = 1,
          .run_stride = int64_t(problem.S) * problem.C,
          .tap_stride = problem.C,
          .R = rows.R,
          .S = rows.S,
          .C = rows.C,
          .columns = rows.columns,
          .channel_words = rows.channel_words,
          .runs = rows.runs,
          .run_words = rows.run_words,
          .merged_rows = rows.merged_rows,
          .packed = packed};
}

FilterPack dgrad_filter(const ConvProblem& problem, const RowsProblem& rows, const TapClass& taps,
                        const float* w, Word* packed) {
  const int64_t filter_row = int64_t(problem.S) * problem.C;
  FilterPack pack = fprop_filter(problem, rows, w, packed);
  if (taps.R > 0) pack.filter = w + taps.r_last * filter_row + int64_t(taps.s_last) * problem.C;
  pack.lane_stride = 1;
  pack.channel_stride = problem.R * filter_row;
  pack.run_stride = -problem.stride * filter_row;
  pack.tap_stride = -int64_t(problem.stride) * problem.C;
  return pack;
}

int64_t filter_words(const RowsProblem& rows) {
  return round_up(rows.columns, kPanelColumns) * rows.runs * rows.run_words;
}

int64_t partial_floats(const RowsProblem& rows) {
  return kPartialHeader + 3 * round_up(rows.columns, kPanelColumns);
}

int units_of_images(const RowsProblem& rows, int images) {
  if (rows.layout == ALayout::pointwise)
    return int(ceil_div(int64_t(images) * rows.P * rows.Q, rows.unit_pixels));
  return int(ceil_div(images, rows.unit_images) * ceil_div(rows.P, rows.unit_rows));
}

int64_t max_units(const RowsProblem& rows, int N, int segments) {
  if (rows.layout == ALayout::pointwise) return units_of_images(rows, N) + segments;
  return (ceil_div(N, rows.unit_images) + segments) * ceil_div(rows.P, rows.unit_rows);
}

int max_unit_pixels(const RowsProblem& rows) {
  if (rows.layout == ALayout::pointwise) return rows.unit_pixels;
  return rows.unit_images * rows.unit_rows * rows.Q;
}

RowsScratch take_rows_scratch(WorkspaceLayout& work, const RowsProblem& rows, const Level& level) {
  RowsScratch s{};
  const int pixels = max_unit_pixels(rows);
  s.offsets = work.take<int32_t>(pixels);
  s.out_pixels = work.take<int32_t>(pixels);
  s.tile = work.take<float>(int64_t(level.tile_m) * level.panels * kPanelColumns);
  // A tile may read whole row groups; what it computes from the rows behind the last is dropped.
  const int64_t pixel = std::max(rows.pixel_words, rows.stride * rows.channel_words);
  const int64_t used = rows.layout == ALayout::pointwise ? rows.unit_pixels * pixel
                                                         : rows.unit_images * rows.image_words;
  const int64_t runs = rows.layout == ALayout::pointwise ? 0 : int64_t(rows.R) * rows.row_words;
  s.a = work.take<Word>(used + level.row_group * pixel + runs);
  return s;
}

RowsUnit rows_unit(const RowsProblem& rows, int unit, int begin, int end) {
  RowsUnit u{};
  if (rows.layout == ALayout::pointwise) {
    const int64_t image_pixels = int64_t(rows.P) * rows.Q;
    u.pixel = begin * image_pixels + int64_t(unit) * rows.unit_pixels;
    u.pixels = int(std::min<int64_t>(rows.unit_pixels, end * image_pixels - u.pixel));
    u.images = 1;
    return u;
  }
  const int row_blocks = int(ceil_div(rows.P, rows.unit_rows));
  u.image = begin + unit / row_blocks * rows.unit_images;
  u.images = std::min(rows.unit_images, end - u.image);
  u.row = unit % row_blocks * rows.unit_rows;
  u.rows = std::min(rows.unit_rows, rows.P - u.row);
  u.pixels = u.images * u.rows * rows.Q;
  return u;
}

namespace {

// The pixels of an image as rows of equal length, at most 64 and even if possible.
int flat_row_length(int64_t pixels) {
  for (int length = 64; length >= 8; length -= 2)
    if (pixels % length == 0) return length;
  for (int length = 64; length > 1; --length)
    if (pixels % length == 0) return length;
  return 1;
}

}  // namespace

WgradPlan plan_wgrad(const ConvProblem& problem, bool prologue, const Level& level) {
  constexpr int64_t kPartsBytes = 4 << 20;
  WgradPlan p{};
  p.N = problem.N, p.H = problem.H, p.W = problem.W, p.C = problem.C, p.S = problem.S;
  p.P = problem.P(), p.Q = problem.Q();
  p.pointwise = problem.R == 1 && problem.S == 1 && problem.stride == 1 && problem.pad == 0;
  p.merged_taps =
      !prologue && problem.S > 1 && problem.C < kPanelColumns && problem.ldx == problem.C;
  if (p.merged_taps) p.C = problem.S * problem.C, p.S = 1;
  if (p.pointwise) {
    const int64_t pixels = int64_t(p.P) * p.Q;
    p.W = p.Q = flat_row_length(pixels);
    p.H = p.P = int(pixels / p.Q);
  }
  p.row_words = int(ceil_div(p.Q, level.pack));
  const int rows = p.pointwise ? p.N * p.P : p.P;
  p.chunk_rows = std::clamp(level.chunk_words_wanted / p.row_words, 1, rows);
  p.chunk_rows = int(ceil_div(rows, ceil_div(rows, p.chunk_rows)));
  p.chunks_per_image = int(ceil_div(rows, p.chunk_rows));
  p.chunks = p.pointwise ? p.chunks_per_image : p.chunks_per_image * p.N;
  p.chunk_words = int(round_up(int64_t(p.chunk_rows) * p.row_words, level.word_align));
  p.chunks_at_once = !p.pointwise && p.chunks_per_image == 1
                         ? std::clamp(level.chunk_words_wanted / p.chunk_words, 1, p.N)
                         : 1;
  p.copies = p.S * problem.stride;
  p.copy_rows = int(ceil_div((p.chunk_rows - 1) * problem.stride + problem.R, problem.stride));
  p.copy_words = int64_t(p.copy_rows) * p.row_words + (level.word_align > 1 ? level.word_align : 0);

  const int panels = int(ceil_div(p.C, kPanelColumns));
  p.channel_blocks = int(ceil_div(panels, level.wgrad_panels_wanted));
  p.unit_channels = int(ceil_div(panels, p.channel_blocks)) * kPanelColumns;
  p.channel_blocks = int(ceil_div(p.C, p.unit_channels));
  p.dw_floats = round_up(int64_t(problem.K) * problem.R * problem.S * problem.C, 16);
  const int64_t affordable = 1 + kPartsBytes / (p.dw_floats * int64_t(sizeof(float)));
  p.parts = int(
      std::min({ceil_div(16, p.channel_blocks), affordable, ceil_div(p.chunks, p.chunks_at_once)}));
  return p;
}

int64_t packed_gradient_words(const WgradPlan& plan, int K) {
  return int64_t(plan.chunks) * plan.chunk_words * round_up(K, 16);
}

int64_t z_words(const WgradPlan& plan) {
  return plan.chunks_at_once * ceil_div(plan.unit_channels, kPanelColumns) * plan.copies *
         plan.copy_words * kPanelColumns;
}

}  // namespace mono::implicit_gemm
