// The baseline half of implicit_gemm: lays out problems, packs filters, hands units to the pool and
// reduces what they produced in unit order.
#include "kernels/conv2d/conv2d_implicit_gemm.h"

#include "kernels/base/thread_pool.h"
#include "kernels/conv2d/conv2d_implicit_gemm_plan.h"

namespace mono::implicit_gemm {
namespace {

constexpr int64_t kProloguePixels = 256;  // of a unit of dgrad's separate gradient prologue
constexpr int64_t kReduceFloats = 16384;  // of a unit that adds wgrad's parts

template <class M>
const M* segment_row(const M* table, int segment, int64_t ld) {
  return table ? table + segment * ld : nullptr;
}

template <class T>
void pack_filter(const Kernels<T>& kernels, const FilterPack& pack) {
  if (pack.runs == 0) return;
  const int64_t panels = ceil_div(pack.columns, kPanelColumns);
  parallel_for(panels, [&](int64_t panel, int) { kernels.pack_filter(pack, int(panel)); });
}

// ---- fprop and dgrad: units of rows ----

// The workspace of one RowsProblem; `worker` is the first worker's scratch.
struct RowsSpace {
  Word* filter;
  float* partials;  // a slot per unit
  std::byte* worker;
  int64_t worker_bytes;
};

RowsSpace take_rows(WorkspaceLayout& work, const RowsProblem& rows, const Level& level, int N,
                    int segments) {
  RowsSpace space{};
  space.filter = work.take<Word>(filter_words(rows));
  space.partials = work.take<float>(max_units(rows, N, segments) * partial_floats(rows));
  WorkspaceLayout one;
  take_rows_scratch(one, rows, level);
  space.worker_bytes = int64_t(one.used());
  space.worker = work.take<std::byte>(space.worker_bytes * num_threads());
  return space;
}

// Runs f(unit, segment, slot) over the units of all segments, with scratch in place.
template <class F>
void for_each_unit(const RowsProblem& rows, const Level& level, const RowsSpace& space,
                   const Segments& segments, const F& f) {
  int64_t units = 0;
  for (int s = 0; s < segments.count; ++s)
    units += units_of_images(rows, segments.end(s) - segments.begin(s));
  parallel_for(units, [&](int64_t index, int worker) {
    int64_t in_segment = index;
    int s = 0;
    for (;; ++s) {
      const int count = units_of_images(rows, segments.end(s) - segments.begin(s));
      if (in_segment < count) break;
      in_segment -= count;
    }
    WorkspaceLayout mine("conv2d", {space.worker + worker * space.worker_bytes,
                                    static_cast<size_t>(space.worker_bytes)});
    const RowsScratch scratch = take_rows_scratch(mine, rows, level);
    RowsUnit unit = rows_unit(rows, int(in_segment), segments.begin(s), segments.end(s));
    unit.a = scratch.a;
    unit.tile = scratch.tile;
    unit.offsets = scratch.offsets;
    unit.out_pixels = scratch.out_pixels;
    unit.filter = space.filter;
    float* slot = space.partials + index * partial_floats(rows);
    slot[0] = float(unit.pixels);
    f(unit, s, slot);
  });
}

// Calls f(segment, first slot, units) in parallel over segments.
template <class F>
void for_each_segment(const RowsProblem& rows, const RowsSpace& space, const Segments& segments,
                      const F& f) {
  parallel_for(segments.count, [&](int64_t s, int) {
    int64_t before = 0;
    for (int i = 0; i < s; ++i)
      before += units_of_images(rows, segments.end(i) - segments.begin(i));
    f(int(s), space.partials + before * partial_floats(rows),
      units_of_images(rows, segments.end(int(s)) - segments.begin(int(s))));
  });
}

// ---- dgrad ----

// Where the source of a dgrad lies once its prologue has run; pointwise problems run it while
// packing.
template <class T>
struct GradientSource {
  const T* g;
  int64_t ld;
};

template <class T, class GradT>
bool trivial_prologue(const ConvDgrad<T, GradT>& args) {
  return std::is_same_v<T, GradT> && !args.a && !args.b && !args.g_out;
}

template <class T, class GradT>
GradientPrologue<T, GradT> prologue_of(const ConvProblem& problem, const ConvDgrad<T, GradT>& args,
                                       int segment) {
  return {.dy = args.dy,
          .lddy = args.lddy,
          .y = args.y,
          .ldy = problem.ldy,
          .a = segment_row(args.a, segment, problem.K),
          .b = segment_row(args.b, segment, problem.K),
          .c = segment_row(args.c, segment, problem.K),
          .g_out = args.g_out,
          .K = problem.K};
}

template <class T, class GradT>
auto gradient_kernel(const Kernels<T>& kernels) {
  if constexpr (std::is_same_v<T, GradT>)
    return kernels.gradient;
  else
    return kernels.gradient_master;
}

// g into args.g_out, or into `space` where the caller does not want it.
template <class T, class GradT>
GradientSource<T> separate_prologue(const Kernels<T>& kernels, const ConvProblem& problem,
                                    const ConvDgrad<T, GradT>& args, T* space) {
  if (trivial_prologue(args)) return {reinterpret_cast<const T*>(args.dy), args.lddy};
  T* g = args.g_out ? args.g_out : space;
  const int64_t image_pixels = int64_t(problem.P()) * problem.Q();
  for (int s = 0; s < args.segments.count; ++s) {
    GradientPrologue<T, GradT> prologue = prologue_of(problem, args, s);
    prologue.g_out = g;
    const int64_t begin = args.segments.begin(s) * image_pixels;
    const int64_t end = args.segments.end(s) * image_pixels;
    parallel_for(ceil_div(end - begin, kProloguePixels), [&](int64_t unit, int) {
      const int64_t first = begin + unit * kProloguePixels;
      gradient_kernel<T, GradT>(kernels)(prologue, first, std::min(end, first + kProloguePixels));
    });
  }
  return {g, problem.K};
}

// WorkspaceLayout of the separate prologue, elements. Counted whether or not a caller needs it.
int64_t gradient_elements(const ConvProblem& problem, const RowsProblem& rows) {
  if (rows.layout == ALayout::pointwise) return 0;
  return int64_t(problem.N) * problem.P() * problem.Q() * problem.K;
}

template <class T, class GradT>
void dgrad_class(const Kernels<T>& kernels, const ConvProblem& problem,
                 const ConvDgrad<T, GradT>& args, const RowsProblem& rows, const RowsSpace& space,
                 GradientSource<T> source, bool first_class) {
  const Level level = level_of(kernels);
  const bool masked = args.mask.scale != nullptr;
  const bool sums = masked && (args.sum_dz || args.sum_dzx);
  for_each_unit(rows, level, space, args.segments, [&](const RowsUnit& unit, int s, float* slot) {
    DgradUnit<T, GradT> u{};
    u.rows = unit;
    u.gradient = prologue_of(problem, args, s);
    u.g = source.g;
    u.ldg = source.ld;
    u.x = args.x;
    u.ldx = problem.ldx;
    u.mask_scale = segment_row(args.mask.scale, s, problem.C);
    u.mask_shift = segment_row(args.mask.shift, s, problem.C);
    u.mean = segment_row(args.mean, s, args.mean_ld);
    u.multiply = segment_row(args.multiply, s, problem.C);
    u.dx = args.mode == GradMode::ignore ? nullptr : args.dx;
    u.lddx = args.lddx;
    u.accumulate = args.mode == GradMode::accumulate;
    u.partial = sums ? slot : nullptr;
    if constexpr (std::is_same_v<T, GradT>)
      kernels.dgrad_unit(rows, u);
    else
      kernels.dgrad_unit_master(rows, u);
  });
  if (sums)
    for_each_segment(rows, space, args.segments, [&](int s, const float* slots, int units) {
      const auto row = [&](float* table) {
        return table ? table + int64_t(s) * problem.C : nullptr;
      };
      kReductions.merge_sums(slots, partial_floats(rows), units, problem.C, row(args.sum_dz),
                             row(args.sum_dzx), !first_class);
    });
}

// Calls f(taps, rows) for each residue class of input pixels that is not empty.
template <class F>
void for_each_class(const ConvProblem& problem, const Level& level, const F& f) {
  for (int row = 0; row < std::min(problem.stride, problem.H); ++row)
    for (int col = 0; col < std::min(problem.stride, problem.W); ++col) {
      const TapClass taps = tap_class(problem, row, col);
      f(taps, plan_dgrad(problem, taps, level));
    }
}

// ---- wgrad ----

struct WgradSpace {
  Word* packed_g;
  float* parts;  // of units after the first
  float* z;
  float* tile;
  int64_t z_pitch, tile_pitch;
};

WgradSpace take_wgrad(WorkspaceLayout& work, const ConvProblem& problem, const WgradPlan& plan,
                      const Level& level) {
  WgradSpace space{};
  if (level.packs_gradient)
    space.packed_g = work.take<Word>(packed_gradient_words(plan, problem.K));
  space.parts = work.take<float>((plan.parts - 1) * plan.dw_floats);
  space.z_pitch = round_up(z_words(plan), 16);
  space.tile_pitch = int64_t(level.tile_m) * level.panels * kPanelColumns;
  space.z = work.take<float>(space.z_pitch * num_threads());
  space.tile = work.take<float>(space.tile_pitch * num_threads());
  return space;
}

template <class T>
WgradProblem<T> wgrad_problem(const ConvProblem& problem, const ConvWgrad<T>& args,
                              const WgradPlan& plan, const WgradSpace& space) {
  WgradProblem<T> p{};
  p.N = plan.N, p.H = plan.H, p.W = plan.W, p.C = plan.C, p.K = problem.K;
  p.R = problem.R, p.S = plan.S, p.stride = problem.stride, p.pad = problem.pad;
  p.P = plan.P, p.Q = plan.Q;
  p.tap_channels = plan.merged_taps ? problem.C : 0;
  p.pointwise = plan.pointwise;
  p.row_words = plan.row_words;
  p.chunk_rows = plan.chunk_rows, p.chunks = plan.chunks;
  p.chunks_per_image = plan.chunks_per_image;
  p.chunk_words = plan.chunk_words;
  p.chunks_at_once = plan.chunks_at_once;
  p.copy_rows = plan.copy_rows, p.copies = plan.copies, p.copy_words = plan.copy_words;
  p.x = args.x;
  p.ldx = problem.ldx;
  p.scale = args.prologue.scale, p.shift = args.prologue.shift;
  p.segments = args.segments.count;
  p.segment_offsets = args.segments.offsets;
  p.g = args.g;
  p.ldg = args.ldg;
  p.packed_g = space.packed_g;
  return p;
}

}  // namespace

bool supports(ConvPass pass, const ConvProblem& problem, DType dtype) {
  const bool level = dtype == DType::f32    ? kernels<float>() != nullptr
                     : dtype == DType::bf16 ? kernels<bf16>() != nullptr
                                            : false;
  if (!level || problem.R > kMaxRuns || problem.P() < 1 || problem.Q() < 1) return false;
  // f32 wgrad reads eight filters of g at a time, in place.
  return pass != ConvPass::wgrad || dtype != DType::f32 || problem.K % 8 == 0;
}

size_t workspace_bytes(ConvPass pass, const ConvProblem& problem, DType dtype, int segments) {
  MONO_CHECK(supports(pass, problem, dtype), "conv2d {}: implicit_gemm does not run {} here",
             problem.to_string(), name_of(dtype));
  const Level level =
      dtype == DType::f32 ? level_of(*kernels<float>()) : level_of(*kernels<bf16>());
  WorkspaceLayout work;
  if (pass == ConvPass::fprop) {
    take_rows(work, plan_fprop(problem, level), level, problem.N, segments);
    return work.used();
  }
  if (pass == ConvPass::wgrad) {
    size_t largest = 0;  // the plan depends on whether there is a prologue
    for (const bool prologue : {false, true}) {
      WorkspaceLayout one;
      take_wgrad(one, problem, plan_wgrad(problem, prologue, level), level);
      largest = std::max(largest, one.used());
    }
    return largest;
  }
  size_t largest = 0;
  int64_t gradient = 0;
  for_each_class(problem, level, [&](const TapClass&, const RowsProblem& rows) {
    WorkspaceLayout one;
    take_rows(one, rows, level, problem.N, segments);
    largest = std::max(largest, one.used());
    gradient = std::max(gradient, gradient_elements(problem, rows));
  });
  WorkspaceLayout masked;
  masked.take<std::byte>(gradient * int64_t(size_of(dtype)));
  return largest + masked.used();
}

template <class T>
void fprop(const ConvProblem& problem, const ConvFprop<T>& args, std::span<std::byte> workspace) {
  const Kernels<T>& k = *kernels<T>();
  const Level level = level_of(k);
  const RowsProblem rows = plan_fprop(problem, level);
  WorkspaceLayout work("conv2d", workspace);
  const RowsSpace space = take_rows(work, rows, level, problem.N, args.segments.count);
  pack_filter(k, fprop_filter(problem, rows, args.w, space.filter));
  const bool moments = args.moments.mean != nullptr;
  for_each_unit(rows, level, space, args.segments, [&](const RowsUnit& unit, int s, float* slot) {
    FpropUnit<T> u{};
    u.rows = unit;
    u.x = args.x;
    u.ldx = problem.ldx;
    u.scale = segment_row(args.prologue.scale, s, problem.C);
    u.shift = segment_row(args.prologue.shift, s, problem.C);
    u.y = args.y;
    u.ldy = problem.ldy;
    u.partial = moments ? slot : nullptr;
    k.fprop_unit(rows, u);
  });
  if (moments)
    for_each_segment(rows, space, args.segments, [&](int s, const float* slots, int units) {
      kReductions.merge_moments(slots, partial_floats(rows), units, problem.K,
                                args.moments.mean + int64_t(s) * args.moments.ld,
                                args.moments.variance + int64_t(s) * args.moments.ld);
    });
}

template <class T, class GradT>
void dgrad(const ConvProblem& problem, const ConvDgrad<T, GradT>& args,
           std::span<std::byte> workspace) {
  const Kernels<T>& k = *kernels<T>();
  const Level level = level_of(k);
  GradientSource<T> source{nullptr, 0};
  bool first_class = true;
  for_each_class(problem, level, [&](const TapClass& taps, const RowsProblem& rows) {
    WorkspaceLayout work("conv2d", workspace);
    T* g = work.take<T>(gradient_elements(problem, rows));
    if (first_class && rows.layout != ALayout::pointwise)
      source = separate_prologue(k, problem, args, g);
    const RowsSpace space = take_rows(work, rows, level, problem.N, args.segments.count);
    pack_filter(k, dgrad_filter(problem, rows, taps, args.w, space.filter));
    dgrad_class(k, problem, args, rows, space, source, first_class);
    first_class = false;
  });
}

template <class T>
void wgrad(const ConvProblem& problem, const ConvWgrad<T>& args, std::span<std::byte> workspace) {
  const Kernels<T>& k = *kernels<T>();
  const Level level = level_of(k);
  const WgradPlan plan = plan_wgrad(problem, args.prologue.scale != nullptr, level);
  WorkspaceLayout work("conv2d", workspace);
  const WgradSpace space = take_wgrad(work, problem, plan, level);
  const WgradProblem<T> p = wgrad_problem(problem, args, plan, space);
  if (level.packs_gradient)
    parallel_for(plan.chunks,
                 [&](int64_t chunk, int) { k.pack_gradient(p, int(chunk), space.packed_g); });
  // Units of one part are neighbours: they share the chunks of g.
  parallel_for(int64_t(plan.parts) * plan.channel_blocks, [&](int64_t index, int worker) {
    const int part = int(index / plan.channel_blocks);
    const int block = int(index % plan.channel_blocks);
    WgradUnit u{};
    u.chunk_begin = int(int64_t(plan.chunks) * part / plan.parts);
    u.chunk_end = int(int64_t(plan.chunks) * (part + 1) / plan.parts);
    u.channel_begin = block * plan.unit_channels;
    u.channel_end = std::min(plan.C, u.channel_begin + plan.unit_channels);
    u.z = space.z + worker * space.z_pitch;
    u.tile = space.tile + worker * space.tile_pitch;
    u.dw = part == 0 ? args.dw : space.parts + (part - 1) * plan.dw_floats;
    u.accumulate = part == 0 && args.mode == GradMode::accumulate;
    k.wgrad_unit(p, u);
  });
  if (plan.parts == 1) return;
  const int64_t floats = int64_t(problem.K) * problem.R * problem.S * problem.C;
  parallel_for(ceil_div(floats, kReduceFloats), [&](int64_t unit, int) {
    const int64_t begin = unit * kReduceFloats;
    kReductions.add_partials(args.dw, space.parts, plan.dw_floats, plan.parts - 1, begin,
                             std::min(floats, begin + kReduceFloats));
  });
}

template void fprop(const ConvProblem&, const ConvFprop<float>&, std::span<std::byte>);
template void fprop(const ConvProblem&, const ConvFprop<bf16>&, std::span<std::byte>);
template void dgrad(const ConvProblem&, const ConvDgrad<float, float>&, std::span<std::byte>);
template void dgrad(const ConvProblem&, const ConvDgrad<bf16, bf16>&, std::span<std::byte>);
template void dgrad(const ConvProblem&, const ConvDgrad<bf16, float>&, std::span<std::byte>);
template void wgrad(const ConvProblem&, const ConvWgrad<float>&, std::span<std::byte>);
template void wgrad(const ConvProblem&, const ConvWgrad<bf16>&, std::span<std::byte>);

}  // namespace mono::implicit_gemm
