// Inner loops run over channels, in blocks. Winners are widened to 32 bits for them: a loop over
// floats and bytes is vectorised for as many channels as a vector has bytes, and a narrow layer
// falls into its scalar remainder. Backward gathers: each input pixel adds the windows that hold
// it, in row-major order, so that no two units write one element.
#include "kernels/base/simd.h"
#include "kernels/pool/pool_loops.h"

namespace mono::MONO_ISA {
namespace {

MONO_INLINE int least(int a, int b) {
  return a < b ? a : b;
}

// Windows [first, last) along one axis that hold input coordinate i.
struct Range {
  int first, last;
};
MONO_INLINE Range windows_over(int i, const PoolProblem& p, int outputs) {
  const int from = i + p.pad - p.window + 1;  // start of the earliest window, if on the stride
  const int first = from <= 0 ? 0 : (from + p.stride - 1) / p.stride;
  return {first, least((i + p.pad) / p.stride + 1, outputs)};
}

// The pixel of the image under a tap of output (p, q); -1 outside of it.
MONO_INLINE int64_t pixel_under(const PoolProblem& problem, int p, int q, int tap) {
  const int h = p * problem.stride - problem.pad + tap / problem.window;
  const int w = q * problem.stride - problem.pad + tap % problem.window;
  if (h < 0 || h >= problem.H || w < 0 || w >= problem.W) return -1;
  return int64_t{h} * problem.W + w;
}

}  // namespace

template <class T>
void max_pool_forward_row(const PoolProblem& problem, int p, const T* x, T* y, uint8_t* argmax) {
  using M = Master<T>;
  const int C = problem.C;
  const int64_t ldx = problem.ldx ? problem.ldx : C, ldy = problem.ldy ? problem.ldy : C;
  M best[kPoolChannelBlock];
  int winner[kPoolChannelBlock];
  for (int q = 0; q < problem.Q(); ++q, y += ldy, argmax += C)
    for (int c0 = 0; c0 < C; c0 += kPoolChannelBlock) {
      const int channels = least(kPoolChannelBlock, C - c0);
      bool first = true;
      for (int tap = 0; tap < problem.window * problem.window; ++tap) {
        const int64_t pixel = pixel_under(problem, p, q, tap);
        if (pixel < 0) continue;
        const T* source = x + pixel * ldx + c0;
        MONO_VECTORISE
        for (int c = 0; c < channels; ++c) {
          const M v = load(source + c);
          const bool wins = first | (v > best[c]) | (v != v);  // NaN wins and stays, as in PyTorch
          best[c] = wins ? v : best[c];
          winner[c] = wins ? tap : winner[c];
        }
        first = false;
      }
      MONO_VECTORISE
      for (int c = 0; c < channels; ++c) store(y + c0 + c, best[c]);
      for (int c = 0; c < channels; ++c) argmax[c0 + c] = static_cast<uint8_t>(winner[c]);
    }
}

template <class T>
void average_pool_forward_row(const PoolProblem& problem, int p, const T* x, T* y) {
  using M = Master<T>;
  const int C = problem.C;
  const int64_t ldx = problem.ldx ? problem.ldx : C, ldy = problem.ldy ? problem.ldy : C;
  const M weight = M(1) / static_cast<M>(problem.window * problem.window);
  M sum[kPoolChannelBlock];
  for (int q = 0; q < problem.Q(); ++q, y += ldy)
    for (int c0 = 0; c0 < C; c0 += kPoolChannelBlock) {
      const int channels = least(kPoolChannelBlock, C - c0);
      for (int c = 0; c < channels; ++c) sum[c] = 0;
      for (int tap = 0; tap < problem.window * problem.window; ++tap) {
        const int64_t pixel = pixel_under(problem, p, q, tap);
        if (pixel < 0) continue;
        const T* source = x + pixel * ldx + c0;
        MONO_VECTORISE
        for (int c = 0; c < channels; ++c) sum[c] += load(source + c);
      }
      MONO_VECTORISE
      for (int c = 0; c < channels; ++c) store(y + c0 + c, sum[c] * weight);
    }
}

template <class T>
void pool_backward_row(const PoolProblem& problem, int h, const T* dy, const uint8_t* argmax, T* dx,
                       bool accumulate) {
  using M = Master<T>;
  const int C = problem.C, Q = problem.Q();
  const int64_t ldx = problem.ldx ? problem.ldx : C, ldy = problem.ldy ? problem.ldy : C;
  const M weight = argmax ? M(1) : M(1) / static_cast<M>(problem.window * problem.window);
  const Range rows = windows_over(h, problem, problem.P());
  M sum[kPoolChannelBlock];
  int winner[kPoolChannelBlock];
  for (int w = 0; w < problem.W; ++w, dx += ldx) {
    const Range columns = windows_over(w, problem, Q);
    for (int c0 = 0; c0 < C; c0 += kPoolChannelBlock) {
      const int channels = least(kPoolChannelBlock, C - c0);
      for (int c = 0; c < channels; ++c) sum[c] = 0;
      for (int p = rows.first; p < rows.last; ++p)
        for (int q = columns.first; q < columns.last; ++q) {
          const int64_t pixel = int64_t{p} * Q + q;
          const T* g = dy + pixel * ldy + c0;
          if (argmax) {
            const int tap = (h + problem.pad - p * problem.stride) * problem.window +
                            (w + problem.pad - q * problem.stride);
            for (int c = 0; c < channels; ++c) winner[c] = argmax[pixel * C + c0 + c];
            MONO_VECTORISE
            for (int c = 0; c < channels; ++c) sum[c] += winner[c] == tap ? load(g + c) : M(0);
          } else {
            MONO_VECTORISE
            for (int c = 0; c < channels; ++c) sum[c] += load(g + c);
          }
        }
      T* out = dx + c0;
      if (accumulate) {
        MONO_VECTORISE
        for (int c = 0; c < channels; ++c) store(out + c, madd(sum[c], weight, load(out + c)));
      } else {
        MONO_VECTORISE
        for (int c = 0; c < channels; ++c) store(out + c, sum[c] * weight);
      }
    }
  }
}

template <class T>
void global_average_forward_block(int H, int W, int channels, int64_t ldx, const T* x, T* y) {
  using M = Master<T>;
  double total[kPoolChannelBlock];
  M row[kPoolChannelBlock];
  for (int c = 0; c < channels; ++c) total[c] = 0;
  for (int h = 0; h < H; ++h) {
    for (int c = 0; c < channels; ++c) row[c] = 0;
    for (int w = 0; w < W; ++w, x += ldx) {
      MONO_VECTORISE
      for (int c = 0; c < channels; ++c) row[c] += load(x + c);
    }
    for (int c = 0; c < channels; ++c) total[c] += row[c];
  }
  const double pixels = static_cast<double>(H) * W;
  for (int c = 0; c < channels; ++c) store(y + c, static_cast<M>(total[c] / pixels));
}

template <class T>
void global_average_backward_row(int H, int W, int C, int64_t ldx, const T* dy, T* dx,
                                 bool accumulate) {
  using M = Master<T>;
  const M weight = static_cast<M>(1.0 / (static_cast<double>(H) * W));
  for (int w = 0; w < W; ++w, dx += ldx) {
    if (accumulate) {
      MONO_VECTORISE
      for (int c = 0; c < C; ++c) store(dx + c, madd(load(dy + c), weight, load(dx + c)));
    } else {
      MONO_VECTORISE
      for (int c = 0; c < C; ++c) store(dx + c, load(dy + c) * weight);
    }
  }
}

#define MONO_INSTANTIATE(T)                                                                        \
  template void max_pool_forward_row<T>(const PoolProblem&, int, const T*, T*, uint8_t*);          \
  template void average_pool_forward_row<T>(const PoolProblem&, int, const T*, T*);                \
  template void pool_backward_row<T>(const PoolProblem&, int, const T*, const uint8_t*, T*, bool); \
  template void global_average_forward_block<T>(int, int, int, int64_t, const T*, T*);             \
  template void global_average_backward_row<T>(int, int, int, int64_t, const T*, T*, bool);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono::MONO_ISA
