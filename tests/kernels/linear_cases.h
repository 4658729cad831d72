// Linear layers to test, and all that one computes, on the CPU or a GPU: shared by linear_test.cpp
// and linear_gpu_test.cpp.
#pragma once

#include <vector>

#include "kernels/linear/linear.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono::test {

struct LinearCase {
  LinearProblem problem;
  bool bias = true, residual = false, keep = false;
  bool accumulate = false;  // every gradient
};

inline std::string name_of(const LinearCase& c) {
  return fmt::format("{}{}{}{}{}", c.problem.to_string(), c.bias ? " bias" : "",
                     c.residual ? " residual" : "", c.keep ? " keep" : "",
                     c.accumulate ? " accumulate" : "");
}

// Everything that the forward and the backward pass of a case write, as one vector.
template <class T>
struct LinearResult {
  std::vector<T> y, dx;
  std::vector<Master<T>> statistics, dw, dbias, dnorm;
};

template <class T>
class LinearRun {
  using M = Master<T>;

 public:
  // The same values in every type: all are multiples of what bf16 holds.
  explicit LinearRun(const LinearCase& c) : case_(c) {
    const LinearProblem& p = c.problem;
    const auto values = [](int64_t n, uint32_t stream, double mean, double deviation) {
      return convert_to<double>(normal_values<bf16>(n, stream, mean, deviation));
    };
    x = convert_to<T>(values(int64_t{p.rows} * p.in, 1, 0.5, 1.5));
    w = convert_to<M>(values(int64_t{p.out} * p.in, 2, 0, 0.1));
    bias = convert_to<M>(values(p.out, 3, 0, 0.5));
    gamma = convert_to<M>(values(p.in, 4, 1, 0.25));
    beta = convert_to<M>(values(p.in, 5, 0, 0.25));
    residual = convert_to<T>(values(int64_t{p.rows} * p.out, 6, 0, 1));
    dy = convert_to<T>(values(int64_t{p.rows} * p.out, 7, 0, 1));
    dx = convert_to<T>(values(x.size(), 8, 0, 1));
    dw = convert_to<M>(values(w.size(), 9, 0, 1));
    dbias = convert_to<M>(values(p.out, 10, 0, 1));
    dnorm = convert_to<M>(values(2 * p.in, 11, 0, 1));
    keep.resize((p.rows + p.rows_per_keep - 1) / p.rows_per_keep);
    for (size_t i = 0; i < keep.size(); ++i) keep[i] = i % 3 == 1 ? 0.0f : 1.25f;
  }

  LinearResult<T> on_cpu(LinearVariant variant) const {
    LinearResult<T> r{
        std::vector<T>(dy.size()), dx, std::vector<M>(2 * case_.problem.rows), dw, dbias, dnorm};
    run(
        Stream{}, variant, x.data(), w.data(), bias.data(), gamma.data(), beta.data(),
        residual.data(), dy.data(), keep.data(), r.y.data(), r.dx.data(), r.statistics.data(),
        r.dw.data(), r.dbias.data(), r.dnorm.data(), [](size_t bytes) { return Scratch(bytes); },
        [](Scratch& scratch) { return scratch.span(); });
    return r;
  }

  LinearResult<T> on_gpu(LinearVariant variant) const {
    const GpuStream stream;
    const auto up = [&](const auto& values) {
      return GpuArray<typename std::decay_t<decltype(values)>::value_type>(stream, values);
    };
    const auto gx = up(x), gresidual = up(residual), gdy = up(dy), gdx = up(dx);
    const auto gw = up(w), gbias = up(bias), ggamma = up(gamma), gbeta = up(beta), gdw = up(dw),
               gdbias = up(dbias), gdnorm = up(dnorm);
    const auto gkeep = up(keep);
    const GpuArray<T> gy(stream, static_cast<int64_t>(dy.size()));
    const GpuArray<M> gstatistics(stream, 2 * case_.problem.rows);
    struct Memory {
      GpuArray<std::byte> array;
      size_t bytes;
    };
    run(
        stream, variant, gx.data(), gw.data(), gbias.data(), ggamma.data(), gbeta.data(),
        gresidual.data(), gdy.data(), gkeep.data(), gy.data(), gdx.data(), gstatistics.data(),
        gdw.data(), gdbias.data(), gdnorm.data(),
        [&](size_t bytes) {
          return Memory{GpuArray<std::byte>(stream, static_cast<int64_t>(bytes)), bytes};
        },
        [](Memory& m) { return std::span<std::byte>(m.array.data(), m.bytes); });
    const bool norm = case_.problem.prologue == LinearPrologue::layer_norm;
    return {gy.host(),
            gdx.host(),
            norm ? gstatistics.host() : std::vector<M>(2 * case_.problem.rows),
            gdw.host(),
            gdbias.host(),
            gdnorm.host()};
  }

 private:
  template <class Allocate, class Span>
  void run(Stream stream, LinearVariant variant, const T* x, const M* w, const M* bias,
           const M* gamma, const M* beta, const T* residual, const T* dy, const float* keep, T* y,
           T* dx, M* statistics, M* dw, M* dbias, M* dnorm, Allocate&& allocate,
           Span&& span) const {
    const LinearProblem& p = case_.problem;
    const bool norm = p.prologue == LinearPrologue::layer_norm;
    const auto bytes = [&](LinearPass pass) {
      return linear_workspace_bytes(stream.device, variant, pass, p, kDTypeOf<T>);
    };
    auto forward_memory = allocate(bytes(LinearPass::forward));
    linear_forward<T>(stream, variant, p,
                      {.x = x,
                       .w = w,
                       .bias = case_.bias ? bias : nullptr,
                       .gamma = norm ? gamma : nullptr,
                       .beta = norm ? beta : nullptr,
                       .mean = norm ? statistics : nullptr,
                       .inv_std = norm ? statistics + p.rows : nullptr,
                       .residual = case_.residual ? residual : nullptr,
                       .keep = case_.keep ? keep : nullptr,
                       .y = y},
                      span(forward_memory));
    const GradMode mode = case_.accumulate ? GradMode::accumulate : GradMode::overwrite;
    auto backward_memory = allocate(bytes(LinearPass::backward));
    LinearBackward<T> args{.dy = dy, .x = x, .w = w};
    if (norm) {
      args.gamma = gamma;
      args.beta = beta;
      args.mean = statistics;
      args.inv_std = statistics + p.rows;
      args.dgamma = {dnorm, mode};
      args.dbeta = {dnorm + p.in, mode};
    }
    if (case_.keep) args.keep = keep;
    args.dw = {dw, mode};
    if (case_.bias) args.dbias = {dbias, mode};
    args.dx = dx;
    args.dx_mode = mode;
    linear_backward<T>(stream, variant, p, args, span(backward_memory));
  }

  LinearCase case_;
  std::vector<T> x, residual, dy, dx;
  std::vector<M> w, bias, gamma, beta, dw, dbias, dnorm;
  std::vector<float> keep;
};

// Both results against the truth in f64, by the rule of errors: `plain` is the definition in T.
template <class T>
void expect_close(const LinearResult<T>& got, const LinearResult<T>& plain,
                  const LinearResult<double>& truth) {
  // What is kept in f32 beside bf16 comes from operands that are rounded to it.
  const auto close = [](const char* what, const auto& g, const auto& p, const auto& t) {
    const double allowed = std::max(2 * error_of(p, t), 2 * kErrorFloor<T>);
    EXPECT_LE(error_of(g, t), allowed) << what << ", " << name_of(kDTypeOf<T>);
  };
  close("y", got.y, plain.y, truth.y);
  close("dx", got.dx, plain.dx, truth.dx);
  close("statistics", got.statistics, plain.statistics, truth.statistics);
  close("dw", got.dw, plain.dw, truth.dw);
  close("dbias", got.dbias, plain.dbias, truth.dbias);
  close("dgamma, dbeta", got.dnorm, plain.dnorm, truth.dnorm);
}

template <class T>
std::vector<double> all_of(const LinearResult<T>& r) {
  std::vector<double> all;
  const auto append = [&](const auto& values) {
    for (const auto v : values) all.push_back(to_double(v));
  };
  append(r.y), append(r.dx), append(r.statistics), append(r.dw), append(r.dbias), append(r.dnorm);
  return all;
}

}  // namespace mono::test
