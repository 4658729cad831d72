// Convolution, variant `onednn`: oneDNN primitives on packed chunks of images, f32 and bf16.
//
// oneDNN is quick on dense NHWC tensors only (a pitched one falls to its `ref`, below 2 % of the
// speed), and its own threading changes bits with the number of threads. So:
//   - a unit is a chunk of 1, 2 or 4 whole images of one segment, fixed by the problem; each call
//     runs on one thread;
//   - the prologue, or the mere packing of a channel slice, writes the chunk into the worker's
//     scratch; a packed operand without prologue is passed straight through;
//   - outputs go from a packed chunk through the epilogue to their pitched place;
//   - wgrad sums chunks per unit and units in order; where images are small beside the filter its
//     units are slices of the input channels over the whole batch instead, with nothing to sum.
// bf16 operands use bf16 primitives where those are quick; else float primitives on operands
// rounded to bf16. Filters are reordered from KRSC into oneDNN's own blocking at each call.
#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>

#include "kernels/base/onednn.h"
#include "kernels/base/thread_pool.h"
#include "kernels/conv2d/conv2d_rows.h"
#include "kernels/conv2d/conv2d_variants.h"

namespace mono {
namespace {

using dnnl::memory;

// ---- primitives -------------------------------------------------------------------------------

// Describing a primitive takes microseconds, making it (it is compiled then) a millisecond: so the
// latter waits for the first use.
struct Primitive {
  memory::desc src, weights, dst, scratchpad;
  memory::desc krsc, reorder_scratchpad;  // of the filter
  bool quick = false;                     // not `ref`
  dnnl::primitive run;
  dnnl::reorder reorder;  // of the filter: from KRSC to `weights`; wgrad: from `weights` to KRSC
  std::function<dnnl::primitive()> make_run;
  std::function<dnnl::reorder()> make_reorder;
};

template <class Convolution, class Description>
void take(Primitive& primitive, const Description& description) {
  primitive.scratchpad = description.scratchpad_desc();
  primitive.quick = !std::string(description.impl_info_str()).starts_with("ref");
  primitive.make_run = [description] { return Convolution(description); };
}

// `images` images of the problem at once; throws dnnl::error where oneDNN has no implementation.
template <class E>
Primitive describe(ConvPass pass, const ConvProblem& p, int images) {
  using Tag = memory::format_tag;
  constexpr auto kType = onednn::kDataType<E>, kF32 = memory::data_type::f32;
  dnnl::engine& engine = onednn::engine();
  const dnnl::primitive_attr attributes = onednn::user_scratchpad();
  const memory::dims x_dims{images, p.C, p.H, p.W}, y_dims{images, p.K, p.P(), p.Q()};
  const memory::dims w_dims{p.K, p.C, p.R, p.S};
  const memory::dims strides{p.stride, p.stride}, padding{p.pad, p.pad};
  const memory::desc x(x_dims, kType, Tag::nhwc), x_f32(x_dims, kF32, Tag::nhwc);
  const memory::desc y(y_dims, kType, Tag::nhwc);
  const memory::desc w(w_dims, kType, Tag::any), w_f32(w_dims, kF32, Tag::any);
  constexpr auto kDirect = dnnl::algorithm::convolution_direct;

  Primitive result;
  const dnnl::convolution_forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, kDirect, x, w, y, strides, padding, padding}, attributes,
      engine);
  result.krsc = memory::desc(w_dims, kF32, Tag::ohwi);
  result.src = x;
  result.dst = y;
  if (pass == ConvPass::fprop) {
    take<dnnl::convolution_forward>(result, forward);
    result.weights = forward.weights_desc();
  } else if (pass == ConvPass::dgrad) {
    const dnnl::convolution_backward_data::primitive_desc backward(
        {kDirect, x_f32, w, y, strides, padding, padding}, attributes, engine, forward);
    take<dnnl::convolution_backward_data>(result, backward);
    result.weights = backward.weights_desc();
    result.src = x_f32;  // dz leaves in float and is rounded once, by the epilogue
  } else {
    const dnnl::convolution_backward_weights::primitive_desc backward(
        {kDirect, x, w_f32, y, strides, padding, padding}, attributes, engine, forward);
    take<dnnl::convolution_backward_weights>(result, backward);
    result.weights = backward.diff_weights_desc();
  }
  const bool out = pass == ConvPass::wgrad;
  const dnnl::reorder::primitive_desc reorder(engine, out ? result.weights : result.krsc, engine,
                                              out ? result.krsc : result.weights, attributes);
  result.make_reorder = [reorder] { return dnnl::reorder(reorder); };
  result.reorder_scratchpad = reorder.scratchpad_desc();
  return result;
}

// The cached primitive, or null where oneDNN has nothing better than its `ref` for the problem.
template <class E>
const Primitive* find_primitive(ConvPass pass, const ConvProblem& p, int images, bool make) {
  using Key = std::array<int, 10>;
  static std::mutex mutex;
  static std::map<Key, Primitive> cache;
  const Key key{static_cast<int>(pass), images, p.H, p.W, p.C, p.K, p.R, p.S, p.stride, p.pad};
  onednn::engine();
  std::lock_guard lock(mutex);
  auto found = cache.find(key);
  if (found == cache.end()) {
    Primitive described;
    try {
      described = describe<E>(pass, p, images);
    } catch (const dnnl::error&) {  // no implementation on this CPU: not quick
    }
    found = cache.emplace(key, std::move(described)).first;
  }
  Primitive& primitive = found->second;
  if (!primitive.quick) return nullptr;
  if (make && !primitive.run) {
    primitive.run = primitive.make_run();
    primitive.reorder = primitive.make_reorder();
  }
  return &primitive;
}

int64_t scratchpad_bytes(const Primitive& primitive) {
  const size_t bytes =
      std::max(primitive.scratchpad.get_size(), primitive.reorder_scratchpad.get_size());
  return static_cast<int64_t>((bytes + 63) / 64 * 64);
}

// ---- units ------------------------------------------------------------------------------------

// More images a call where an image is small: a call's cost, above all wgrad's, is then shared.
int most_images_per_chunk(const ConvProblem& p) {
  const int pixels = p.P() * p.Q();
  return pixels > 512 ? 1 : pixels > 128 ? 2 : 4;
}

// Chunks of equal size that never straddle two segments; at least four a segment, where it has as
// many images, so that several threads find work.
struct Chunks {
  Segments segments;
  int images;  // per chunk

  Chunks(const ConvProblem& p, const Segments& s) : segments(s), images(most_images_per_chunk(p)) {
    for (int i = 0; i < s.count; ++i) {
      const int size = s.end(i) - s.begin(i);
      while (images > 1 && (size % images != 0 || size / images < 4)) images /= 2;
    }
  }
  int64_t count() const { return first_of(segments.count); }
  int64_t first_of(int segment) const {
    return segment == 0 ? 0 : segments.end(segment - 1) / images;
  }
  int first_image(int64_t chunk) const { return static_cast<int>(chunk) * images; }
  int segment(int64_t chunk) const { return segment_of(segments, first_image(chunk)); }
};

// ---- scratch ----------------------------------------------------------------------------------

// E is the type oneDNN sees: T, or float for a bf16 problem without quick bf16.
template <class E>
struct Scratch {
  const Primitive* primitive;
  int64_t x_size, y_size, scratchpad_size;
  float* rounded;  // (K,R,S,C) rounded to bf16, for float primitives on bf16 problems
  std::byte* filter;
  E* x;  // per worker: packed chunk of z; float dz in dgrad
  E* y;  // per worker: packed chunk of y or g
  float* dz;
  std::byte* scratchpads;  // per worker
  MomentsUnits moments;
  SumUnits sums;
  // wgrad
  int units;
  int64_t dw_size;  // floats of one filter gradient in oneDNN's blocking
  float* dw_units;  // (units, dw_size)
  float* dw_chunk;  // per worker
  float* dw;        // (K,R,S,C)

  // `make`: whether the primitive is to be run, or only the scratch measured.
  Scratch(ConvPass pass, const ConvProblem& p, int images, WorkspaceLayout& work, bool make)
      : primitive(find_primitive<E>(pass, p, images, make)) {
    MONO_CHECK(primitive, "oneDNN has no quick convolution for {} images of {}", images,
               p.to_string());
    const int workers = num_threads();
    const int64_t filter_size = int64_t{p.K} * p.R * p.S * p.C;
    x_size = int64_t{images} * p.H * p.W * p.C;
    y_size = int64_t{images} * p.P() * p.Q() * p.K;
    scratchpad_size = scratchpad_bytes(*primitive);
    scratchpads = work.take<std::byte>(workers * scratchpad_size);
    y = work.take<E>(workers * y_size);
    const int64_t chunks = p.N / images;
    if (pass == ConvPass::fprop) moments = MomentsUnits(work, chunks, p.K);
    if (pass == ConvPass::dgrad) {
      dz = work.take<float>(workers * x_size);
      sums = SumUnits(work, chunks, p.C);
    } else {
      x = work.take<E>(workers * x_size);
    }
    if (pass == ConvPass::wgrad) {
      dw_size = static_cast<int64_t>(primitive->weights.get_size() / sizeof(float));
      units = static_cast<int>(std::min<int64_t>(chunks, most_units(filter_size)));
      dw_units = work.take<float>(units * dw_size);
      dw_chunk = work.take<float>(workers * dw_size);
      dw = work.take<float>(filter_size);
    } else {
      rounded = work.take<float>(std::is_same_v<E, float> ? filter_size : 0);
      filter = work.take<std::byte>(static_cast<int64_t>(primitive->weights.get_size()));
    }
  }

  // Partial filter gradients may take about 64 MB.
  static int64_t most_units(int64_t filter_size) {
    int64_t units = 16;
    while (units > 2 && units * filter_size > int64_t{16} << 20) units /= 2;
    return units;
  }
  std::byte* scratchpad(int worker) const { return scratchpads + worker * scratchpad_size; }
};

void run(const Primitive& primitive, std::byte* scratchpad,
         std::unordered_map<int, memory> arguments) {
  arguments.emplace(DNNL_ARG_SCRATCHPAD, onednn::view(primitive.scratchpad, scratchpad));
  primitive.run.execute(onednn::stream(), arguments);
}

void reorder(const Primitive& primitive, const memory::desc& from, const void* source,
             const memory::desc& to, void* target, void* scratchpad) {
  primitive.reorder.execute(
      onednn::stream(),
      {{DNNL_ARG_FROM, onednn::view(from, source)},
       {DNNL_ARG_TO, onednn::view(to, target)},
       {DNNL_ARG_SCRATCHPAD, onednn::view(primitive.reorder_scratchpad, scratchpad)}});
}

// The filter in oneDNN's blocking. T is the problem's type: bf16 filters round to bf16, which the
// reorder itself does where E is bf16.
template <class T, class E>
void pack_filter(const ConvProblem& p, const float* w, const Scratch<E>& scratch) {
  if constexpr (!std::is_same_v<T, E>) {
    for (int64_t i = 0; i < int64_t{p.K} * p.R * p.S * p.C; ++i)
      scratch.rounded[i] = static_cast<float>(bf16(w[i]));
    w = scratch.rounded;
  }
  const Primitive& primitive = *scratch.primitive;
  reorder(primitive, primitive.krsc, w, primitive.weights, scratch.filter, scratch.scratchpad(0));
}

// The chunk's z: x itself where nothing is to be done, else packed into `z`.
template <class T, class E>
const E* chunk_of_x(const ConvProblem& p, const T* x, const ScaleShiftRelu<T>& prologue,
                    int segment, int first_image, int images, E* z) {
  const int64_t pixel = int64_t{first_image} * p.H * p.W;
  if constexpr (std::is_same_v<T, E>)
    if (!prologue.scale && p.ldx == p.C) return x + pixel * p.ldx;
  const int64_t table = int64_t{segment} * p.C;
  pack_rows<T, E>({.x = x + pixel * p.ldx,
                   .ldx = p.ldx,
                   .scale = prologue.scale ? prologue.scale + table : nullptr,
                   .shift = prologue.scale ? prologue.shift + table : nullptr,
                   .z = z,
                   .ldz = p.C,
                   .C = p.C},
                  int64_t{images} * p.H * p.W);
  return z;
}

// ---- the passes -------------------------------------------------------------------------------

template <class T, class E>
void fprop(const ConvProblem& p, const ConvFprop<T>& args, std::span<std::byte> workspace) {
  const Chunks chunks(p, args.segments);
  WorkspaceLayout work("conv2d_fprop", workspace);
  const Scratch<E> scratch(ConvPass::fprop, p, chunks.images, work, true);
  const Primitive& primitive = *scratch.primitive;
  const int64_t pixels = int64_t{chunks.images} * p.P() * p.Q();
  pack_filter<T>(p, args.w, scratch);

  parallel_for(chunks.count(), [&](int64_t chunk, int worker) {
    const int image = chunks.first_image(chunk);
    const E* z = chunk_of_x<T, E>(p, args.x, args.prologue, chunks.segment(chunk), image,
                                  chunks.images, scratch.x + worker * scratch.x_size);
    T* y = args.y + int64_t{image} * p.P() * p.Q() * p.ldy;
    void* packed = scratch.y + worker * scratch.y_size;
    const bool direct = std::is_same_v<T, E> && p.ldy == p.K;
    if (direct) packed = y;
    run(primitive, scratch.scratchpad(worker),
        {{DNNL_ARG_SRC, onednn::view(primitive.src, z)},
         {DNNL_ARG_WEIGHTS, onednn::view(primitive.weights, scratch.filter)},
         {DNNL_ARG_DST, onednn::view(primitive.dst, packed)}});
    if constexpr (std::is_same_v<E, float>) {
      if (!direct) store_rows<T>(static_cast<const float*>(packed), p.K, p.K, pixels, y, p.ldy);
    } else if (!direct) {
      pack_rows<T, T>(
          {.x = static_cast<const T*>(packed), .ldx = p.K, .z = y, .ldz = p.ldy, .C = p.K}, pixels);
    }
    if (args.moments.mean)
      moments_rows<T>(y, p.ldy, p.K, pixels, scratch.moments.mean + chunk * p.K,
                      scratch.moments.m2 + chunk * p.K);
  });

  if (!args.moments.mean) return;
  for (int s = 0; s < args.segments.count; ++s)
    merge_moments<T>(
        scratch.moments, chunks.first_of(s), chunks.first_of(s + 1),
        [&](int64_t) { return pixels; }, s, args.moments);
}

// The chunk's g: dy itself, or g_out, or packed into `packed`.
template <class T, class GradT, class E>
const E* chunk_of_g(const ConvProblem& p, const ConvDgrad<T, GradT>& args, int segment,
                    int64_t pixel, int64_t pixels, E* packed) {
  const GradT* dy = args.dy + pixel * args.lddy;
  T* g_out = args.g_out ? args.g_out + pixel * p.K : nullptr;
  if constexpr (std::is_same_v<T, GradT> && std::is_same_v<T, E>)
    if (!args.a && !args.b && !g_out && args.lddy == p.K) return dy;
  if constexpr (std::is_same_v<T, E>) {
    E* g = g_out ? g_out : packed;
    gradient_rows(gradient_of(p, args, pixel, segment, g), pixels);
    return g;
  } else {
    if (g_out) {
      gradient_rows(gradient_of(p, args, pixel, segment, g_out), pixels);
      pack_rows<T, E>({.x = g_out, .ldx = p.K, .z = packed, .ldz = p.K, .C = p.K}, pixels);
    } else {
      gradient_rows(gradient_of(p, args, pixel, segment, packed), pixels);
    }
    return packed;
  }
}

template <class T, class GradT, class E>
void dgrad(const ConvProblem& p, const ConvDgrad<T, GradT>& args, std::span<std::byte> workspace) {
  const Chunks chunks(p, args.segments);
  WorkspaceLayout work("conv2d_dgrad", workspace);
  const Scratch<E> scratch(ConvPass::dgrad, p, chunks.images, work, true);
  const Primitive& primitive = *scratch.primitive;
  const int64_t pixels_in = int64_t{chunks.images} * p.H * p.W;
  const int64_t pixels = int64_t{chunks.images} * p.P() * p.Q();
  pack_filter<T>(p, args.w, scratch);

  const bool direct = std::is_same_v<GradT, float> && !args.mask.scale && !args.multiply &&
                      args.mode == GradMode::overwrite && args.lddx == p.C;
  parallel_for(chunks.count(), [&](int64_t chunk, int worker) {
    const int segment = chunks.segment(chunk);
    const E* g = chunk_of_g<T, GradT, E>(p, args, segment, chunk * pixels, pixels,
                                         scratch.y + worker * scratch.y_size);
    float* dz = scratch.dz + worker * scratch.x_size;
    void* target = dz;
    if (direct) target = args.dx + chunk * pixels_in * p.C;
    run(primitive, scratch.scratchpad(worker),
        {{DNNL_ARG_DIFF_DST, onednn::view(primitive.dst, g)},
         {DNNL_ARG_WEIGHTS, onednn::view(primitive.weights, scratch.filter)},
         {DNNL_ARG_DIFF_SRC, onednn::view(primitive.src, target)}});
    if (!direct)
      store_input_gradient(p, args, scratch.sums, chunk, segment, chunk * pixels_in, pixels_in, dz,
                           p.C);
  });
  merge_sums(args, scratch.sums, [&](int segment) { return chunks.first_of(segment); });
}

template <class T, class E>
void wgrad(const ConvProblem& p, const ConvWgrad<T>& args, std::span<std::byte> workspace) {
  const Chunks chunks(p, args.segments);
  WorkspaceLayout work("conv2d_wgrad", workspace);
  const Scratch<E> scratch(ConvPass::wgrad, p, chunks.images, work, true);
  const Primitive& primitive = *scratch.primitive;
  const int64_t pixels = int64_t{chunks.images} * p.P() * p.Q();
  const int64_t dw_size = scratch.dw_size;

  parallel_for(scratch.units, [&](int64_t unit, int worker) {
    const int64_t begin = chunks.count() * unit / scratch.units;
    const int64_t end = chunks.count() * (unit + 1) / scratch.units;
    float* sum = scratch.dw_units + unit * dw_size;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const E* z = chunk_of_x<T, E>(p, args.x, args.prologue, chunks.segment(chunk),
                                    chunks.first_image(chunk), chunks.images,
                                    scratch.x + worker * scratch.x_size);
      const T* g = args.g + chunk * pixels * args.ldg;
      const void* packed = g;
      if (!std::is_same_v<T, E> || args.ldg != p.K) {
        E* to = scratch.y + worker * scratch.y_size;
        pack_rows<T, E>({.x = g, .ldx = args.ldg, .z = to, .ldz = p.K, .C = p.K}, pixels);
        packed = to;
      }
      float* dw = chunk == begin ? sum : scratch.dw_chunk + worker * dw_size;
      run(primitive, scratch.scratchpad(worker),
          {{DNNL_ARG_SRC, onednn::view(primitive.src, z)},
           {DNNL_ARG_DIFF_DST, onednn::view(primitive.dst, packed)},
           {DNNL_ARG_DIFF_WEIGHTS, onednn::view(primitive.weights, dw)}});
      if (chunk != begin)
        for (int64_t i = 0; i < dw_size; ++i) sum[i] += dw[i];
    }
  });

  constexpr int64_t kSlice = 16384;
  parallel_for((dw_size + kSlice - 1) / kSlice, [&](int64_t slice, int) {
    const int64_t end = std::min(dw_size, (slice + 1) * kSlice);
    for (int unit = 1; unit < scratch.units; ++unit)
      for (int64_t i = slice * kSlice; i < end; ++i)
        scratch.dw_units[i] += scratch.dw_units[unit * dw_size + i];
  });
  const bool add = args.mode == GradMode::accumulate;
  reorder(primitive, primitive.weights, scratch.dw_units, primitive.krsc,
          add ? scratch.dw : args.dw, scratch.scratchpad(0));
  if (add)
    for (int64_t i = 0; i < int64_t{p.K} * p.R * p.S * p.C; ++i) args.dw[i] += scratch.dw[i];
}

// wgrad of small images, whose filter gradient is larger than a chunk of them: units are slices of
// the input channels over the whole batch, so that nothing has to be summed afterwards.
bool by_channels(const ConvProblem& p) {
  return 2 * p.K * p.R * p.S > most_images_per_chunk(p) * p.H * p.W;
}

template <class E>
struct SliceScratch {
  int width;  // channels of a slice; the last may have fewer
  int64_t units, z_size, dw_size, blocked_size = 0, scratchpad_size = 0;
  E* g;            // (N,P,Q,K) packed
  E* z;            // per worker: (N,H,W,width)
  float* dw;       // per worker: (K,R,S,width)
  float* blocked;  // per worker: the same in oneDNN's blocking
  std::byte* scratchpads;

  SliceScratch(const ConvProblem& p, WorkspaceLayout& work)
      : width(std::min(p.C, std::max(48, (p.C / 8 + 15) / 16 * 16))),
        units((p.C + width - 1) / width),
        z_size(int64_t{p.N} * p.H * p.W * width),
        dw_size(int64_t{p.K} * p.R * p.S * width) {
    for (int64_t unit : {int64_t{0}, units - 1}) {
      const Primitive& primitive = slice(p, unit, false);
      blocked_size = std::max(blocked_size,
                              static_cast<int64_t>(primitive.weights.get_size() / sizeof(float)));
      scratchpad_size = std::max(scratchpad_size, scratchpad_bytes(primitive));
    }
    const int workers = num_threads();
    g = work.take<E>(int64_t{p.N} * p.P() * p.Q() * p.K);
    z = work.take<E>(workers * z_size);
    dw = work.take<float>(workers * dw_size);
    blocked = work.take<float>(workers * blocked_size);
    scratchpads = work.take<std::byte>(workers * scratchpad_size);
  }

  int channels(const ConvProblem& p, int64_t unit) const {
    return std::min(width, p.C - static_cast<int>(unit) * width);
  }
  const Primitive& slice(const ConvProblem& p, int64_t unit, bool make) const {
    ConvProblem q = p;
    q.C = channels(p, unit);
    const Primitive* primitive = find_primitive<E>(ConvPass::wgrad, q, p.N, make);
    MONO_CHECK(primitive, "oneDNN has no quick convolution for {}", q.to_string());
    return *primitive;
  }
};

template <class T, class E>
void wgrad_by_channels(const ConvProblem& p, const ConvWgrad<T>& args,
                       std::span<std::byte> workspace) {
  WorkspaceLayout work("conv2d_wgrad", workspace);
  const SliceScratch<E> scratch(p, work);
  const int64_t pixels = int64_t{p.P()} * p.Q(), pixels_in = int64_t{p.H} * p.W;

  const void* g = args.g;
  if (!std::is_same_v<T, E> || args.ldg != p.K) {
    parallel_for(p.N, [&](int64_t n, int) {
      pack_rows<T, E>({.x = args.g + n * pixels * args.ldg,
                       .ldx = args.ldg,
                       .z = scratch.g + n * pixels * p.K,
                       .ldz = p.K,
                       .C = p.K},
                      pixels);
    });
    g = scratch.g;
  }

  parallel_for(scratch.units, [&](int64_t unit, int worker) {
    const int c_begin = static_cast<int>(unit) * scratch.width;
    const int channels = scratch.channels(p, unit);
    E* z = scratch.z + worker * scratch.z_size;
    float* dw = scratch.dw + worker * scratch.dw_size;
    float* blocked = scratch.blocked + worker * scratch.blocked_size;
    std::byte* scratchpad = scratch.scratchpads + worker * scratch.scratchpad_size;
    for (int s = 0; s < args.segments.count; ++s) {
      const int64_t begin = args.segments.begin(s) * pixels_in;
      const int64_t table = int64_t{s} * p.C + c_begin;
      pack_rows<T, E>({.x = args.x + begin * p.ldx + c_begin,
                       .ldx = p.ldx,
                       .scale = args.prologue.scale ? args.prologue.scale + table : nullptr,
                       .shift = args.prologue.scale ? args.prologue.shift + table : nullptr,
                       .z = z + begin * channels,
                       .ldz = channels,
                       .C = channels},
                      args.segments.end(s) * pixels_in - begin);
    }
    const Primitive& primitive = scratch.slice(p, unit, true);
    run(primitive, scratchpad,
        {{DNNL_ARG_SRC, onednn::view(primitive.src, z)},
         {DNNL_ARG_DIFF_DST, onednn::view(primitive.dst, g)},
         {DNNL_ARG_DIFF_WEIGHTS, onednn::view(primitive.weights, blocked)}});
    reorder(primitive, primitive.weights, blocked, primitive.krsc, dw, scratchpad);
    for (int64_t row = 0; row < int64_t{p.K} * p.R * p.S; ++row) {
      float* to = args.dw + row * p.C + c_begin;
      const float* from = dw + row * channels;
      if (args.mode == GradMode::accumulate)
        for (int c = 0; c < channels; ++c) to[c] += from[c];
      else
        std::copy_n(from, channels, to);
    }
  });
}

template <class T>
bool in_bf16() {
  return std::is_same_v<T, bf16> && has_quick_bf16();
}

}  // namespace

bool conv2d_onednn_supports(ConvPass pass, const ConvProblem& p, DType dtype) {
  if (dtype == DType::bf16 && has_quick_bf16())
    return find_primitive<bf16>(pass, p, 1, false) != nullptr;
  return (dtype == DType::f32 || dtype == DType::bf16) &&
         find_primitive<float>(pass, p, 1, false) != nullptr;
}

size_t conv2d_onednn_workspace(ConvPass pass, const ConvProblem& p, DType dtype, int) {
  if (pass == ConvPass::wgrad && by_channels(p)) {
    WorkspaceLayout work;
    if (dtype == DType::bf16 && has_quick_bf16())
      SliceScratch<bf16>(p, work);
    else
      SliceScratch<float>(p, work);
    return work.used();
  }
  size_t most = 0;  // the segments decide how many images make a chunk
  for (int images = most_images_per_chunk(p); images >= 1; images /= 2) {
    if (p.N % images != 0) continue;
    WorkspaceLayout work;
    if (dtype == DType::bf16 && has_quick_bf16())
      Scratch<bf16>(pass, p, images, work, false);
    else
      Scratch<float>(pass, p, images, work, false);
    most = std::max(most, work.used());
  }
  return most;
}

template <class T>
void conv2d_onednn_fprop(const ConvProblem& p, const ConvFprop<T>& args,
                         std::span<std::byte> workspace) {
  in_bf16<T>() ? fprop<T, T>(p, args, workspace) : fprop<T, float>(p, args, workspace);
}
template <class T, class GradT>
void conv2d_onednn_dgrad(const ConvProblem& p, const ConvDgrad<T, GradT>& args,
                         std::span<std::byte> workspace) {
  in_bf16<T>() ? dgrad<T, GradT, T>(p, args, workspace)
               : dgrad<T, GradT, float>(p, args, workspace);
}
template <class T>
void conv2d_onednn_wgrad(const ConvProblem& p, const ConvWgrad<T>& args,
                         std::span<std::byte> workspace) {
  if (by_channels(p))
    in_bf16<T>() ? wgrad_by_channels<T, T>(p, args, workspace)
                 : wgrad_by_channels<T, float>(p, args, workspace);
  else
    in_bf16<T>() ? wgrad<T, T>(p, args, workspace) : wgrad<T, float>(p, args, workspace);
}

#define MONO_INSTANCE(T)                                                     \
  template void conv2d_onednn_fprop(const ConvProblem&, const ConvFprop<T>&, \
                                    std::span<std::byte>);                   \
  template void conv2d_onednn_wgrad(const ConvProblem&, const ConvWgrad<T>&, std::span<std::byte>);
#define MONO_DGRAD_INSTANCE(T, GradT)                                               \
  template void conv2d_onednn_dgrad(const ConvProblem&, const ConvDgrad<T, GradT>&, \
                                    std::span<std::byte>);
MONO_INSTANCE(float)
MONO_INSTANCE(bf16)
MONO_DGRAD_INSTANCE(float, float)
MONO_DGRAD_INSTANCE(bf16, bf16)
MONO_DGRAD_INSTANCE(bf16, float)

}  // namespace mono
