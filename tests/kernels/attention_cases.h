// Problems for attention, its definition in any precision, and runs of a variant on a device.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "kernels/attention/attention.h"
#include "tests/kernels/op_test.h"

namespace mono::test {

// Odd lengths, every remainder of the tiles; head dims below, at and beside 64; pitches.
inline const std::vector<AttentionProblem> kAttentionCases = {
    {.N = 1, .T = 1, .heads = 1},
    {.N = 2, .T = 7, .heads = 3, .head_dim = 8},
    {.N = 1, .T = 40, .heads = 1, .head_dim = 8},
    {.N = 1, .T = 33, .heads = 2, .head_dim = 64},
    {.N = 1, .T = 31, .heads = 1, .head_dim = 40, .ld_qkv = 128, .ld_out = 48},
    {.N = 1, .T = 50, .heads = 1, .head_dim = 64, .ld_qkv = 200, .ld_out = 72},
    {.N = 1, .T = 37, .heads = 1, .head_dim = 128},
    {.N = 1, .T = 66, .heads = 1, .head_dim = 72},
    {.N = 1, .T = 131, .heads = 1, .head_dim = 16},
    {.N = 1, .T = 65, .heads = 1, .head_dim = 24, .ld_qkv = 74, .ld_out = 25},
};

struct alignas(64) ScratchLine {
  std::byte bytes[64];
};

struct AttentionSizes {
  int64_t qkv, out, lse;
  explicit AttentionSizes(const AttentionProblem& p)
      : qkv(int64_t{p.N} * p.T * std::max(p.ld_qkv, 3 * p.width())),
        out(int64_t{p.N} * p.T * std::max(p.ld_out, p.width())),
        lse(int64_t{p.N} * p.heads * p.T) {}
};

template <class T>
struct AttentionResult {
  std::vector<T> out, dqkv, sum;  // sum: dqkv accumulated onto `before`
  std::vector<Master<T>> lse;
};

// Inputs of a problem, the same numbers in every type; scores spread over several units.
template <class T>
struct AttentionInputs {
  std::vector<T> qkv, dout, before;

  explicit AttentionInputs(const AttentionProblem& p) {
    const AttentionSizes sizes(p);
    const auto values = [](int64_t n, uint32_t stream, double deviation) {
      return convert_to<T>(normal_values<bf16>(n, stream, 0, deviation));
    };
    qkv = values(sizes.qkv, 1, 1.5);
    dout = values(sizes.out, 2, 1);
    before = values(sizes.qkv, 3, 1);
  }
};

// The definition, all in M: every score of a row at once, a row after the other, sums in order.
// Rounded to T is what a program would store that has each matrix in memory: P, dS and the results.
template <class M, class T>
AttentionResult<T> attention_definition(const AttentionProblem& p) {
  const AttentionInputs<M> in(p);
  const int64_t ld = std::max(p.ld_qkv, 3 * p.width()), ldo = std::max(p.ld_out, p.width());
  const int d = p.head_dim;
  const M scale = M(1) / std::sqrt(M(d));
  const auto stored = [](M value) { return static_cast<M>(to_double(from_double<T>(value))); };
  AttentionResult<T> r;
  r.out.assign(AttentionSizes(p).out, T(Master<T>(0)));
  r.lse.assign(AttentionSizes(p).lse, 0);
  std::vector<M> gradient(in.qkv.size(), M(0)), scores(p.T), out(d);
  for (int64_t unit = 0; unit < int64_t{p.N} * p.heads; ++unit) {
    const int64_t image = unit / p.heads, head = unit % p.heads;
    const auto at = [&](int part, int64_t t, int c) {
      return (image * p.T + t) * ld + part * p.width() + head * d + c;
    };
    for (int64_t i = 0; i < p.T; ++i) {
      M most = -std::numeric_limits<M>::infinity(), total = 0;
      for (int64_t j = 0; j < p.T; ++j) {
        M score = 0;
        for (int c = 0; c < d; ++c) score += in.qkv[at(0, i, c)] * in.qkv[at(1, j, c)];
        scores[j] = scale * score;
        most = std::max(most, scores[j]);
      }
      for (M& s : scores) total += s = std::exp(s - most);
      r.lse[unit * p.T + i] = static_cast<Master<T>>(most + std::log(total));
      std::fill(out.begin(), out.end(), M(0));
      for (int64_t j = 0; j < p.T; ++j)
        for (int c = 0; c < d; ++c) out[c] += stored(scores[j] / total) * in.qkv[at(2, j, c)];
      M delta = 0;
      const int64_t row = (image * p.T + i) * ldo + head * d;
      for (int c = 0; c < d; ++c) {
        r.out[row + c] = from_double<T>(out[c]);
        delta += stored(out[c]) * in.dout[row + c];
      }
      for (int64_t j = 0; j < p.T; ++j) {
        const M prob = scores[j] / total;
        M dp = 0;
        for (int c = 0; c < d; ++c) dp += in.dout[row + c] * in.qkv[at(2, j, c)];
        const M ds = stored(scale * prob * (dp - delta));
        for (int c = 0; c < d; ++c) {
          gradient[at(0, i, c)] += ds * in.qkv[at(1, j, c)];
          gradient[at(1, j, c)] += ds * in.qkv[at(0, i, c)];
          gradient[at(2, j, c)] += stored(prob) * in.dout[row + c];
        }
      }
    }
  }
  for (size_t i = 0; i < gradient.size(); ++i) {
    const bool inside = static_cast<int64_t>(i) % ld < 3 * p.width();
    r.dqkv.push_back(from_double<T>(gradient[i]));
    r.sum.push_back(from_double<T>(inside ? in.before[i] + gradient[i] : in.before[i]));
  }
  return r;
}

// What a variant does on the device of `stream`; gaps of pitched rows must stay as they were.
// Array is a device's array: constructible from (stream, std::vector<T>), with data() and host().
template <template <class> class Array, class T>
AttentionResult<T> run_attention(Stream stream, AttentionVariant variant,
                                 const AttentionProblem& p) {
  using M = Master<T>;
  const AttentionInputs<T> in(p);
  const AttentionSizes sizes(p);
  const Array<T> qkv(stream, in.qkv), dout(stream, in.dout), sum(stream, in.before),
      out(stream, std::vector<T>(sizes.out, T(M(0)))),
      dqkv(stream, std::vector<T>(sizes.qkv, T(M(0))));
  const Array<M> lse(stream, std::vector<M>(sizes.lse, M(0)));
  const auto bytes_of = [&](AttentionPass pass) {
    return attention_workspace_bytes(variant, pass, p, kDTypeOf<T>);
  };
  ScratchLine not_a_number;
  std::memset(&not_a_number, 0xff, sizeof not_a_number);
  const Array<ScratchLine> lines(
      stream,
      std::vector<ScratchLine>(
          std::max(bytes_of(AttentionPass::forward), bytes_of(AttentionPass::backward)) / 64,
          not_a_number));
  const auto scratch = [&](AttentionPass pass) {
    return std::span<std::byte>(reinterpret_cast<std::byte*>(lines.data()), bytes_of(pass));
  };
  attention_forward<T>(stream, variant, p, {qkv.data(), out.data(), lse.data()},
                       scratch(AttentionPass::forward));
  AttentionBackward<T> args{qkv.data(), out.data(), dout.data(), lse.data(), dqkv.data()};
  const auto work = scratch(AttentionPass::backward);
  attention_backward<T>(stream, variant, p, args, work);
  args.dqkv = sum.data();
  args.mode = GradMode::accumulate;
  attention_backward<T>(stream, variant, p, args, work);
  args.mode = GradMode::ignore;
  attention_backward<T>(stream, variant, p, args, work);
  return {out.host(), dqkv.host(), sum.host(), lse.host()};
}

// Root mean square of got - want over that of want.
template <class T>
double mean_error_of(const std::vector<T>& got, const std::vector<double>& want) {
  double error = 0, square = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (to_double(got[i]) - want[i]) * (to_double(got[i]) - want[i]);
    square += want[i] * want[i];
  }
  return std::sqrt(error / (square + 1e-300));
}

// A variant's results against the truth, by the rule of twice the plain computation's error. In the
// gradients dout v^T and delta, sums of head_dim products, cancel (with one token entirely): a few
// roundings are those of the terms, and which element has the largest error is luck (delta comes
// from a rounded `out`), so the rule is for the mean error, and three times for the largest.
template <class T>
void expect_attention(const AttentionResult<T>& got, const AttentionResult<T>& plain,
                      const AttentionResult<double>& want) {
  expect_close("out", got.out, plain.out, want.out);
  expect_close("lse", got.lse, plain.lse, want.lse);
  const double roundings = std::is_same_v<T, bf16>     ? 0x1p-7
                           : std::is_same_v<T, double> ? 1e-12
                                                       : 0x1p-18;
  const auto expect_gradient = [&](const char* what, const std::vector<T>& g,
                                   const std::vector<T>& p, const std::vector<double>& w) {
    EXPECT_LE(mean_error_of(g, w), std::max(2 * mean_error_of(p, w), roundings / 4)) << what;
    EXPECT_LE(error_of(g, w), std::max(3 * error_of(p, w), roundings)) << what;
  };
  expect_gradient("dqkv", got.dqkv, plain.dqkv, want.dqkv);
  expect_gradient("accumulated", got.sum, plain.sum, want.sum);
}

}  // namespace mono::test
