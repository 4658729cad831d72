// Matrix product, variant `onednn`: oneDNN's matmul on tiles of C, one thread per tile, f32 and
// bf16.
//
// A tile of C is computed in float in the worker's scratch, then bias, addition and the one
// rounding follow while it is in cache. Tiles are fixed by the problem and each sums over the whole
// inner dimension, so any number of threads gives the same bits. Operands that are not yet of the
// computed type (master weights in a bf16 product) are rounded into scratch first; leading
// dimensions and transposes are strides. Without quick bf16, bf16 products run in float on operands
// rounded to bf16.
#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>

#include "kernels/base/onednn.h"
#include "kernels/matmul/matmul_variants.h"

namespace mono {
namespace {

using dnnl::memory;

constexpr int kTile = 256;  // rows and columns of C per unit

// How a stored matrix is seen by oneDNN.
struct View {
  int rows, columns;  // as stored
  int ld;
  bool transposed;

  memory::desc desc(memory::dim m, memory::dim n, memory::data_type type) const {
    return {{m, n}, type, transposed ? memory::dims{1, ld} : memory::dims{ld, 1}};
  }
  int64_t offset(int64_t m, int64_t n) const { return transposed ? n * ld + m : m * ld + n; }
};

struct Primitive {
  dnnl::matmul::primitive_desc description;
  dnnl::matmul run;  // made at first use
  memory::desc a, b, c;
  bool quick = false;  // not `ref`
};

struct TileShape {
  int M, N, K;
  View a, b;
};

template <class E>
Primitive describe(const TileShape& tile) {
  Primitive result;
  result.a = tile.a.desc(tile.M, tile.K, onednn::kDataType<E>);
  result.b = tile.b.desc(tile.K, tile.N, onednn::kDataType<E>);
  result.c = memory::desc({tile.M, tile.N}, memory::data_type::f32, memory::dims{tile.N, 1});
  try {
    result.description = dnnl::matmul::primitive_desc({result.a, result.b, result.c},
                                                      onednn::user_scratchpad(), onednn::engine());
    result.quick = !std::string(result.description.impl_info_str()).starts_with("ref");
  } catch (const dnnl::error&) {  // no implementation on this CPU
  }
  return result;
}

// The cached primitive, or null where oneDNN has nothing better than its `ref`. Making one takes a
// millisecond (it is compiled), asking whether it exists does not.
template <class E>
const Primitive* find_primitive(const TileShape& t, bool make) {
  using Key = std::array<int, 7>;
  static std::mutex mutex;
  static std::map<Key, Primitive> cache;
  const Key key{t.M, t.N, t.K, t.a.ld, t.a.transposed, t.b.ld, t.b.transposed};
  onednn::engine();
  std::lock_guard lock(mutex);
  auto found = cache.find(key);
  if (found == cache.end()) found = cache.emplace(key, describe<E>(t)).first;
  Primitive& primitive = found->second;
  if (!primitive.quick) return nullptr;
  if (make && !primitive.run) primitive.run = dnnl::matmul(primitive.description);
  return &primitive;
}

View view_a(const MatmulProblem& p) {
  return p.transpose_a ? View{p.K, p.M, p.lda, true} : View{p.M, p.K, p.lda, false};
}
View view_b(const MatmulProblem& p) {
  return p.transpose_b ? View{p.N, p.K, p.ldb, true} : View{p.K, p.N, p.ldb, false};
}
View packed(View view) {
  view.ld = view.columns;
  return view;
}

// Calls visit(shape) for the shapes of tiles that occur: full ones and those at the edges.
template <class Visit>
void for_each_shape(const MatmulProblem& p, const View& a, const View& b, Visit&& visit) {
  for (int m : {std::min(kTile, p.M), p.M % kTile})
    for (int n : {std::min(kTile, p.N), p.N % kTile})
      if (m > 0 && n > 0) visit(TileShape{m, n, p.K, a, b});
}

template <class E>
struct Scratch {
  int64_t c_size, scratchpad_size = 0;
  E *a, *b;  // rounded operands, packed as stored
  float* c;  // per worker: a tile
  std::byte* scratchpads;

  Scratch(const MatmulProblem& p, WorkspaceLayout& work)
      : c_size(int64_t{std::min(kTile, p.M)} * std::min(kTile, p.N)) {
    for (const View& view_of_a : {view_a(p), packed(view_a(p))})
      for (const View& view_of_b : {view_b(p), packed(view_b(p))})
        for_each_shape(p, view_of_a, view_of_b, [&](const TileShape& tile) {
          if (const Primitive* primitive = find_primitive<E>(tile, false))
            scratchpad_size =
                std::max(scratchpad_size,
                         static_cast<int64_t>(primitive->description.scratchpad_desc().get_size()));
        });
    scratchpad_size = (scratchpad_size + 63) / 64 * 64;
    a = work.take<E>(int64_t{p.M} * p.K);
    b = work.take<E>(int64_t{p.K} * p.N);
    c = work.take<float>(num_threads() * c_size);
    scratchpads = work.take<std::byte>(num_threads() * scratchpad_size);
  }
};

// The operand itself where it is of type E and needs no rounding, else rounded into `out`, `view`
// then being packed.
template <class T, class E, class Source>
const E* rounded(View& view, const Source* source, E* out) {
  if constexpr (std::is_same_v<E, Source> && std::is_same_v<T, E>) {
    return source;
  } else {
    parallel_for(view.rows, [&](int64_t row, int) {
      const Source* from = source + row * view.ld;
      E* to = out + row * view.columns;
      for (int i = 0; i < view.columns; ++i) to[i] = operand<T, E>(from[i]);
    });
    view = packed(view);
    return out;
  }
}

// c, the packed tile of C at row m and column n -> C: bias, factor, additions, one rounding.
template <class A, class B, class Out>
void store_tile(const float* c, int rows, int columns, const Matmul<A, B, Out>& args, int m, int n,
                int64_t ldc) {
  const float* const bias = args.bias ? args.bias + n : nullptr;
  for (int i = 0; i < rows; ++i, c += columns) {
    Out* const out = args.c + (m + i) * ldc + n;
    const Out* const residual = args.residual ? args.residual + (m + i) * ldc + n : nullptr;
    const float keep = args.keep ? args.keep[(m + i) / args.rows_per_keep] : 1.0f;
    for (int j = 0; j < columns; ++j) {
      float sum = c[j];
      if (bias) sum += bias[j];
      sum *= keep;
      if (residual) sum += static_cast<float>(residual[j]);
      if (args.mode == GradMode::accumulate) sum += static_cast<float>(out[j]);
      out[j] = static_cast<Out>(sum);
    }
  }
}

template <class T, class E, class A, class B, class Out>
void run(const MatmulProblem& p, const Matmul<A, B, Out>& args, std::span<std::byte> workspace) {
  WorkspaceLayout work("matmul", workspace);
  const Scratch<E> scratch(p, work);
  View a_view = view_a(p), b_view = view_b(p);
  const E* a = rounded<T, E>(a_view, args.a, scratch.a);
  const E* b = rounded<T, E>(b_view, args.b, scratch.b);

  const int64_t column_tiles = (p.N + kTile - 1) / kTile, row_tiles = (p.M + kTile - 1) / kTile;
  parallel_for(row_tiles * column_tiles, [&](int64_t unit, int worker) {
    const int m = static_cast<int>(unit / column_tiles) * kTile;
    const int n = static_cast<int>(unit % column_tiles) * kTile;
    const TileShape tile{std::min(kTile, p.M - m), std::min(kTile, p.N - n), p.K, a_view, b_view};
    const Primitive* primitive = find_primitive<E>(tile, true);
    MONO_CHECK(primitive, "oneDNN has no quick matrix product for {}", p.to_string());
    float* c = scratch.c + worker * scratch.c_size;
    primitive->run.execute(
        onednn::stream(), {{DNNL_ARG_SRC, onednn::view(primitive->a, a + a_view.offset(m, 0))},
                           {DNNL_ARG_WEIGHTS, onednn::view(primitive->b, b + b_view.offset(0, n))},
                           {DNNL_ARG_DST, onednn::view(primitive->c, c)},
                           {DNNL_ARG_SCRATCHPAD,
                            onednn::view(primitive->description.scratchpad_desc(),
                                         scratch.scratchpads + worker * scratch.scratchpad_size)}});
    store_tile(c, tile.M, tile.N, args, m, n, p.ldc);
  });
}

template <class E>
bool has_quick(const MatmulProblem& p) {
  bool quick = true;
  for (const View& a : {view_a(p), packed(view_a(p))})
    for (const View& b : {view_b(p), packed(view_b(p))})
      for_each_shape(p, a, b, [&](const TileShape& tile) {
        quick = quick && find_primitive<E>(tile, false) != nullptr;
      });
  return quick;
}

}  // namespace

bool matmul_onednn_supports(const MatmulProblem& problem, DType dtype) {
  if (dtype == DType::bf16 && has_quick_bf16()) return has_quick<bf16>(problem);
  return (dtype == DType::f32 || dtype == DType::bf16) && has_quick<float>(problem);
}

size_t matmul_onednn_workspace(const MatmulProblem& problem, DType dtype) {
  WorkspaceLayout work;
  if (dtype == DType::bf16 && has_quick_bf16())
    Scratch<bf16>(problem, work);
  else
    Scratch<float>(problem, work);
  return work.used();
}

template <class T, class A, class B, class Out>
void matmul_onednn(const MatmulProblem& p, const Matmul<A, B, Out>& args,
                   std::span<std::byte> workspace) {
  if constexpr (std::is_same_v<T, bf16>)
    if (has_quick_bf16()) return run<T, bf16>(p, args, workspace);
  run<T, float>(p, args, workspace);
}

#define MONO_INSTANCE(T, A, B, Out)                                              \
  template void matmul_onednn<T>(const MatmulProblem&, const Matmul<A, B, Out>&, \
                                 std::span<std::byte>);
MONO_MATMUL_FLOAT_INSTANCES(MONO_INSTANCE)

}  // namespace mono
