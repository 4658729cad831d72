// Linear layer, variant `fused`: the layer runs over units of 64 rows, whose prologue's result and
// product stay in cache.
//
// forward: w is packed in panels of columns; a unit normalises its rows into scratch, multiplies
// them by one panel after the other, and stores each tile of the product through the epilogue.
// backward, a chunk of rows at a time: a unit multiplies its rows of dy by panels of w and takes
// dz, while it is in cache, through the prologue's derivative; on the way it packs z and g. Then
// dw = g^T z runs over units of dw. Sums over rows (dbias, dgamma, dbeta) are merged in unit order.
// Units depend on the problem only: the same bits for any number of threads.
#include <algorithm>
#include <type_traits>

#include "kernels/base/cpu_features.h"
#include "kernels/base/thread_pool.h"
#include "kernels/base/unit_sums.h"
#include "kernels/gelu/gelu_loops.h"
#include "kernels/layer_norm/layer_norm_loops.h"
#include "kernels/linear/linear_loops.h"
#include "kernels/linear/linear_variants.h"

namespace mono {
namespace {

static_assert(kLinearRows == kLayerNormRows);

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Runs of kLinearRows rows, and where these are few, runs of columns of the product.
struct Units {
  int rows, row_units, panels, panels_each, column_units;

  Units(int rows_in_all, int panels_in_all) : rows(rows_in_all), panels(panels_in_all) {
    constexpr int64_t kWanted = 16;
    row_units = static_cast<int>(ceil_div(rows, kLinearRows));
    const int64_t splits = std::min<int64_t>(ceil_div(kWanted, row_units), panels);
    panels_each = static_cast<int>(ceil_div(panels, splits));
    column_units = static_cast<int>(ceil_div(panels, panels_each));
  }
  int64_t count() const { return int64_t{row_units} * column_units; }
  int first_row(int row_unit) const { return row_unit * kLinearRows; }
  int rows_of(int row_unit) const { return std::min(kLinearRows, rows - first_row(row_unit)); }
};

// Asks for `rows` pieces of memory, `bytes` each, that are needed soon: the hardware does not see
// them coming where they lie far apart, or where a unit begins.
inline void prefetch(int64_t rows, const void* from, int64_t pitch_bytes, int64_t bytes) {
  constexpr int64_t kLine = 64;
  const char* row = static_cast<const char*>(from);
  for (; rows > 0; --rows, row += pitch_bytes)
    for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(row + at, 0, 2);
}
template <class T>
void prefetch_columns(int rows, const T* from, int64_t ld, int columns) {
  prefetch(rows, from, ld * int64_t{sizeof(T)}, columns * int64_t{sizeof(T)});
}
template <class T>
void prefetch_rows(int rows, const T* from, int columns) {
  prefetch(1, from, 0, int64_t{rows} * columns * int64_t{sizeof(T)});
}

// What a unit multiplies: `rows` rows of A at `a`, pitch lda.
template <class Engine>
struct Operand {
  const typename Engine::E* a;
  int64_t lda;
};

// Rows of x (columns wide), as the engine wants A: themselves, or a copy in `staged`, padded with
// zeros; `through` is scratch of rows of T.
template <class T, class Engine>
Operand<Engine> stage(int rows, int columns, const T* x, typename Engine::E* staged) {
  using E = typename Engine::E;
  if constexpr (std::is_same_v<T, E>)
    if (columns % Engine::kInnerAlign == 0 && rows % Engine::kRowAlign == 0) return {x, columns};
  const int64_t lda = round_up(columns, Engine::kInnerAlign);
  const int64_t padded = round_up(rows, Engine::kRowAlign);
  for (int64_t r = 0; r < padded; ++r) {
    E* const to = staged + r * lda;
    const int count = r < rows ? columns : 0;
    for (int c = 0; c < count; ++c)
      to[c] = static_cast<E>(static_cast<Master<E>>(static_cast<Master<T>>(x[r * columns + c])));
    std::fill(to + count, to + lda, E(0));
  }
  return {staged, lda};
}

// Scratch of a worker: see what each pass takes.
template <class T, class Engine>
struct WorkerScratch {
  using E = typename Engine::E;
  using M = Master<T>;
  E* staged;  // (kLinearRows, reduction padded)
  T* z;       // (kLinearRows, in): the prologue's result; of GELU in backward, of one panel
  M* c;       // (kLinearRows, kPanel), or all panels
  M* statistics;
};
template <class T, class Engine>
struct Scratch {
  using E = typename Engine::E;
  using M = Master<T>;
  int inner, wide;  // the reduction, columns of c
  int64_t staged_size, z_size = 0, c_size;
  E* w;  // packed
  E* staged;
  T* z;
  M *c, *statistics;

  Scratch(const LinearProblem& p, LinearPass pass, WorkspaceLayout& work) {
    const bool forward = pass == LinearPass::forward;
    inner = forward ? p.in : p.out;
    const int columns = forward ? p.out : p.in;
    const int64_t panels = ceil_div(columns, Engine::kPanel);
    const bool whole_rows = !forward && p.prologue == LinearPrologue::layer_norm;
    wide = static_cast<int>(whole_rows ? panels * Engine::kPanel : Engine::kPanel);
    staged_size = kLinearRows * round_up(inner, Engine::kInnerAlign);
    const bool panel_of_z = !forward && p.prologue == LinearPrologue::gelu;
    if (p.prologue != LinearPrologue::none)
      z_size = int64_t{kLinearRows} * (panel_of_z ? Engine::kPanel : p.in);
    c_size = int64_t{kLinearRows} * wide;
    const int64_t workers = num_threads();
    w = work.take<E>(panels * Engine::panel_size(inner));
    staged = work.take<E>(workers * staged_size);
    z = work.take<T>(workers * z_size);
    c = work.take<M>(workers * c_size);
    statistics = work.take<M>(workers * 2 * kLinearRows);
  }
  WorkerScratch<T, Engine> of(int worker) const {
    return {staged + worker * staged_size, z + worker * z_size, c + worker * c_size,
            statistics + worker * 2 * kLinearRows};
  }
};

// The factors of a unit's rows.
struct Factors {
  float values[kLinearRows];
  const float* data = nullptr;

  Factors(const float* keep, int rows_per_keep, int first, int rows) {
    if (!keep) return;
    for (int r = 0; r < rows; ++r) values[r] = keep[(first + r) / rows_per_keep];
    data = values;
  }
};

// ---- forward ----

// z of a unit's rows, as A.
template <class T, class Engine>
Operand<Engine> forward_operand(const LinearProblem& p, const LinearForward<T>& args, int first,
                                int rows, bool keep_statistics,
                                const WorkerScratch<T, Engine>& scratch) {
  using M = Master<T>;
  const T* const x = args.x + int64_t{first} * p.in;
  prefetch_rows(rows, x, p.in);
  if (p.prologue == LinearPrologue::layer_norm) {
    const bool wanted = args.mean && keep_statistics;
    M* const mean = wanted ? args.mean + first : scratch.statistics;
    M* const inv_std = wanted ? args.inv_std + first : scratch.statistics + kLinearRows;
    MONO_SIMD(layer_norm_statistics_rows<T>(rows, p.in, p.eps, x, mean, inv_std));
    MONO_SIMD(layer_norm_apply_rows<T>(rows, p.in, x, mean, inv_std, args.gamma, args.beta,
                                       scratch.z, p.in));
    return stage<T, Engine>(rows, p.in, scratch.z, scratch.staged);
  }
  if (p.prologue == LinearPrologue::gelu) {
    MONO_SIMD(gelu_forward_unit<T>(int64_t{rows} * p.in, x, scratch.z));
    return stage<T, Engine>(rows, p.in, scratch.z, scratch.staged);
  }
  return stage<T, Engine>(rows, p.in, x, scratch.staged);
}

template <class T, class Engine>
void forward(const LinearProblem& p, const LinearForward<T>& args, WorkspaceLayout& work) {
  const Scratch<T, Engine> scratch(p, LinearPass::forward, work);
  const int panels = static_cast<int>(ceil_div(p.out, Engine::kPanel));
  const int64_t panel_size = Engine::panel_size(p.in);
  parallel_for(panels, [&](int64_t panel, int) {
    Engine::pack_transposed(args.w, p.out, p.in, static_cast<int>(panel) * Engine::kPanel,
                            scratch.w + panel * panel_size);
  });

  const Units units(p.rows, panels);
  parallel_for(units.count(), [&](int64_t unit, int worker) {
    const WorkerScratch<T, Engine> mine = scratch.of(worker);
    const int row_unit = static_cast<int>(unit) / units.column_units;
    const int column_unit = static_cast<int>(unit) % units.column_units;
    const int first = units.first_row(row_unit), rows = units.rows_of(row_unit);
    const Operand<Engine> z =
        forward_operand<T, Engine>(p, args, first, rows, column_unit == 0, mine);
    const Factors factors(args.keep, p.rows_per_keep, first, rows);
    const int end = std::min((column_unit + 1) * units.panels_each, panels);
    for (int panel = column_unit * units.panels_each; panel < end; ++panel) {
      const int n = panel * Engine::kPanel, columns = std::min(Engine::kPanel, p.out - n);
      if (args.residual)
        prefetch_columns(rows, args.residual + int64_t{first} * p.out + n, p.out, columns);
      prefetch_columns(rows, args.y + int64_t{first} * p.out + n, p.out, columns);
      Engine::multiply(rows, z.a, z.lda, p.in, scratch.w + panel * panel_size, mine.c,
                       Engine::kPanel);
      const int64_t at = int64_t{first} * p.out + n;
      MONO_SIMD(linear_store_rows<T>({.rows = rows,
                                      .columns = columns,
                                      .c = mine.c,
                                      .ldc = Engine::kPanel,
                                      .bias = args.bias ? args.bias + n : nullptr,
                                      .factors = factors.data,
                                      .add = args.residual ? args.residual + at : nullptr,
                                      .y = args.y + at,
                                      .ldy = p.out}));
    }
  });
}

// ---- backward ----

template <class T, class Engine>
struct BackwardScratch : Scratch<T, Engine> {
  using E = typename Engine::E;
  using M = Master<T>;
  int chunk;
  E *g = nullptr, *packed_z;
  M *bias_sums, *norm_sums = nullptr;  // (row units, out), (row units, 2, in)

  BackwardScratch(const LinearProblem& p, WorkspaceLayout& work)
      : Scratch<T, Engine>(p, LinearPass::backward, work), chunk(std::min(p.rows, kLinearChunk)) {
    const int64_t row_units = ceil_div(p.rows, kLinearRows);
    g = work.take<E>(Engine::gradient_size(chunk, p.out));
    packed_z = work.take<E>(ceil_div(p.in, Engine::kPanel) * Engine::z_size(chunk));
    bias_sums = work.take<M>(row_units * p.out);
    if (p.prologue == LinearPrologue::layer_norm) norm_sums = work.take<M>(row_units * 2 * p.in);
  }
};

// The pass over rows for one unit: dx, packed z and g, sums.
template <class T, class Engine>
class BackwardRows {
  using E = typename Engine::E;
  using M = Master<T>;

 public:
  BackwardRows(const LinearProblem& p, const LinearBackward<T>& args,
               const BackwardScratch<T, Engine>& scratch, int chunk_first, int chunk, int row_unit,
               int worker)
      : p_(p),
        args_(args),
        scratch_(scratch),
        mine_(scratch.of(worker)),
        row_unit_(row_unit),
        first_(row_unit * kLinearRows),
        rows_(std::min(kLinearRows, p.rows - first_)),
        chunk_first_(chunk_first),
        chunk_(chunk),
        factors_(args.keep, p.rows_per_keep, first_, rows_),
        x_(args.x + int64_t{first_} * p.in),
        dy_(args.dy + int64_t{first_} * p.out),
        dx_(args.dx && args.dx_mode != GradMode::ignore ? args.dx + int64_t{first_} * p.in
                                                        : nullptr) {}

  void run() {
    prefetch_rows(rows_, dy_, p_.out);
    pack_gradient();
    if (p_.prologue == LinearPrologue::layer_norm) return through_norm();
    if (p_.prologue == LinearPrologue::gelu) return through_gelu();
    prefetch_rows(rows_, x_, p_.in);
    if (dx_) prefetch_rows(rows_, dx_, p_.in);
    for_panels([&](int n, int columns, const E* w) {
      if (dx_) {
        multiply(w, mine_.c, Engine::kPanel);
        const int64_t at = n;
        MONO_SIMD(
            linear_store_rows<T>({.rows = rows_,
                                  .columns = columns,
                                  .c = mine_.c,
                                  .ldc = Engine::kPanel,
                                  .bias = nullptr,
                                  .factors = factors_.data,
                                  .add = args_.dx_mode == GradMode::accumulate ? dx_ + at : nullptr,
                                  .y = dx_ + at,
                                  .ldy = p_.in}));
      }
      pack_z(n, columns, x_ + n, p_.in);
    });
  }

 private:
  void pack_gradient() {
    dy_operand_ = stage<T, Engine>(rows_, p_.out, dy_, mine_.staged);
    M* const sums = args_.dbias.data ? scratch_.bias_sums + int64_t{row_unit_} * p_.out : nullptr;
    if (args_.dw.data || sums)
      Engine::pack_gradient({rows_, p_.out, dy_, factors_.data, sums}, chunk_,
                            first_ - chunk_first_, scratch_.g);
  }

  // Calls f(first column, columns, panel of w) for the panels of dz.
  template <class F>
  void for_panels(F&& f) {
    const int64_t panel_size = Engine::panel_size(p_.out);
    for (int n = 0; n < p_.in; n += Engine::kPanel)
      f(n, std::min(Engine::kPanel, p_.in - n), scratch_.w + n / Engine::kPanel * panel_size);
  }
  void multiply(const E* w, M* c, int64_t ldc) const {
    Engine::multiply(rows_, dy_operand_.a, dy_operand_.lda, p_.out, w, c, ldc);
  }
  void pack_z(int n, int columns, const T* z, int64_t ldz) const {
    if (!args_.dw.data) return;
    Engine::pack_z(rows_, columns, z, ldz, first_ - chunk_first_,
                   scratch_.packed_z + n / Engine::kPanel * Engine::z_size(chunk_));
  }

  void through_gelu() {
    for_panels([&](int n, int columns, const E* w) {
      prefetch_columns(rows_, x_ + n, p_.in, columns);
      if (dx_) {
        prefetch_columns(rows_, dx_ + n, p_.in, columns);
        multiply(w, mine_.c, Engine::kPanel);
      }
      MONO_SIMD(linear_gelu_rows<T>({.rows = rows_,
                                     .columns = columns,
                                     .c = mine_.c,
                                     .ldc = Engine::kPanel,
                                     .factors = factors_.data,
                                     .x = x_ + n,
                                     .dx = dx_ ? dx_ + n : nullptr,
                                     .ldx = p_.in,
                                     .accumulate = args_.dx_mode == GradMode::accumulate,
                                     .z = mine_.z,
                                     .ldz = Engine::kPanel}));
      pack_z(n, columns, mine_.z, Engine::kPanel);
    });
  }

  void through_norm() {
    const M *const mean = args_.mean + first_, *const inv_std = args_.inv_std + first_;
    prefetch_rows(rows_, x_, p_.in);
    if (dx_) prefetch_rows(rows_, dx_, p_.in);
    const int64_t wide = scratch_.wide;
    for_panels([&](int n, int, const E* w) { multiply(w, mine_.c + n, wide); });
    if (factors_.data)
      for (int r = 0; r < rows_; ++r)
        for (int c = 0; c < p_.in; ++c) mine_.c[r * wide + c] *= static_cast<M>(factors_.data[r]);
    if (args_.dw.data) {
      MONO_SIMD(layer_norm_apply_rows<T>(rows_, p_.in, x_, mean, inv_std, args_.gamma, args_.beta,
                                         mine_.z, p_.in));
      for_panels([&](int n, int columns, const E*) { pack_z(n, columns, mine_.z + n, p_.in); });
    }
    M* const sums = scratch_.norm_sums + int64_t{row_unit_} * 2 * p_.in;
    std::fill_n(sums, 2 * p_.in, M(0));
    MONO_SIMD(layer_norm_backward_rows<M, T>(
        rows_, p_.in, mine_.c, wide, x_, mean, inv_std, args_.gamma, dx_,
        args_.dx_mode == GradMode::accumulate, sums, sums + p_.in));
  }

  const LinearProblem& p_;
  const LinearBackward<T>& args_;
  const BackwardScratch<T, Engine>& scratch_;
  const WorkerScratch<T, Engine> mine_;
  const int row_unit_, first_, rows_, chunk_first_, chunk_;
  const Factors factors_;
  const T *const x_, *const dy_;
  T* const dx_;
  Operand<Engine> dy_operand_;
};

// dw (+)= g^T z of a chunk whose rows begin at `first`.
template <class T, class Engine>
void multiply_outer(const LinearProblem& p, const LinearBackward<T>& args,
                    const BackwardScratch<T, Engine>& scratch, int first, int chunk) {
  constexpr int kFilters = 192, kPanels = 2;  // of a unit: g of it stays in the second-level cache
  const int64_t filter_units = ceil_div(p.out, kFilters);
  const int64_t panels = ceil_div(p.in, Engine::kPanel), panel_units = ceil_div(panels, kPanels);
  const bool accumulate = first > 0 || args.dw.mode == GradMode::accumulate;
  parallel_for(filter_units * panel_units, [&](int64_t unit, int) {
    const int out = static_cast<int>(unit / panel_units) * kFilters;
    const int64_t begin = unit % panel_units * kPanels;
    for (int64_t panel = begin; panel < std::min(begin + kPanels, panels); ++panel) {
      const int n = static_cast<int>(panel) * Engine::kPanel;
      Engine::multiply_outer(chunk, out, std::min(kFilters, p.out - out),
                             std::min(Engine::kPanel, p.in - n), scratch.g,
                             scratch.packed_z + panel * Engine::z_size(chunk),
                             args.dw.data + int64_t{out} * p.in + n, p.in, accumulate);
    }
  });
}

template <class T, class Engine>
void backward(const LinearProblem& p, const LinearBackward<T>& args, WorkspaceLayout& work) {
  const BackwardScratch<T, Engine> scratch(p, work);
  const int64_t panel_size = Engine::panel_size(p.out);
  parallel_for(ceil_div(p.in, Engine::kPanel), [&](int64_t panel, int) {
    Engine::pack(args.w, p.out, p.in, static_cast<int>(panel) * Engine::kPanel,
                 scratch.w + panel * panel_size);
  });
  for (int first = 0; first < p.rows; first += kLinearChunk) {
    const int chunk = std::min(kLinearChunk, p.rows - first);
    parallel_for(ceil_div(chunk, kLinearRows), [&](int64_t unit, int worker) {
      BackwardRows<T, Engine>(p, args, scratch, first, chunk,
                              first / kLinearRows + static_cast<int>(unit), worker)
          .run();
    });
    if (args.dw.data) multiply_outer<T, Engine>(p, args, scratch, first, chunk);
  }
  const int64_t row_units = ceil_div(p.rows, kLinearRows);
  if (args.dbias.data)
    add_units(p.out, row_units, scratch.bias_sums, p.out, args.dbias.data, args.dbias.mode);
  if (scratch.norm_sums)
    layer_norm_merge_units(p.in, row_units, scratch.norm_sums, args.dgamma.data, args.dgamma.mode,
                           args.dbeta.data, args.dbeta.mode);
}

// Calls f.operator()<Engine>() with the quickest engine of this CPU.
template <class T, class F>
void dispatch_engine(F&& f) {
  if constexpr (std::is_same_v<T, bf16>)
    if (cpu_isa() >= CpuIsa::amx) return f.template operator()<AmxEngine>();
  f.template operator()<TileEngine<T>>();
}

}  // namespace

size_t linear_fused_workspace(LinearPass pass, const LinearProblem& problem, DType dtype) {
  WorkspaceLayout work;
  dispatch_activation(dtype, [&]<class T>() {
    dispatch_engine<T>([&]<class Engine>() {
      if (pass == LinearPass::forward)
        Scratch<T, Engine>(problem, pass, work);
      else
        BackwardScratch<T, Engine>(problem, work);
    });
  });
  return work.used();
}

template <class T>
void linear_fused_forward(const LinearProblem& problem, const LinearForward<T>& args,
                          std::span<std::byte> workspace) {
  WorkspaceLayout work("linear", workspace);
  dispatch_engine<T>([&]<class Engine>() { forward<T, Engine>(problem, args, work); });
}

template <class T>
void linear_fused_backward(const LinearProblem& problem, const LinearBackward<T>& args,
                           std::span<std::byte> workspace) {
  WorkspaceLayout work("linear", workspace);
  dispatch_engine<T>([&]<class Engine>() { backward<T, Engine>(problem, args, work); });
}

#define MONO_INSTANTIATE(T)                                                           \
  template void linear_fused_forward(const LinearProblem&, const LinearForward<T>&,   \
                                     std::span<std::byte>);                           \
  template void linear_fused_backward(const LinearProblem&, const LinearBackward<T>&, \
                                      std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
