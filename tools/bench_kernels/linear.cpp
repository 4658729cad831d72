// DeiT-S' linear layers with their surroundings, LayerNorm and GELU by themselves, at the tokens of
// images of 224 pixels.
#include "kernels/linear/linear.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "kernels/gelu/gelu.h"
#include "tools/bench_kernels/bench.h"

namespace mono::bench {
namespace {

struct Case {
  const char* name;
  LinearProblem problem;
  bool residual;
};

constexpr LinearVariant kVariants[] = {LinearVariant::reference, LinearVariant::composed,
                                       LinearVariant::fused};

template <class T>
class Linear {
 public:
  using M = Master<T>;
  Linear(Stream stream, LinearVariant variant, const Case& test)
      : stream_(stream),
        variant_(variant),
        p_(test.problem),
        residual_(test.residual),
        x_(normal<T>(stream, int64_t{p_.rows} * p_.in, 1)),
        other_(normal<T>(stream, int64_t{p_.rows} * p_.out, 2)),
        y_(constant<T>(stream, other_.size(), 0)),
        dx_(constant<T>(stream, x_.size(), 0)),
        w_(normal<M>(stream, int64_t{p_.in} * p_.out, 3, 0, 0.05)),
        dw_(constant<M>(stream, w_.size(), 0)),
        bias_(normal<M>(stream, p_.out, 4)),
        dbias_(constant<M>(stream, p_.out, 0)),
        norm_(normal<M>(stream, 2 * int64_t{p_.in}, 5, 1, 0.25)),
        dnorm_(constant<M>(stream, norm_.size(), 0)),
        statistics_(constant<M>(stream, 2 * int64_t{p_.rows}, 0)) {
    size_t bytes = 1;
    for (const LinearPass pass : {LinearPass::forward, LinearPass::backward})
      bytes =
          std::max(bytes, linear_workspace_bytes(stream.device, variant, pass, p_, kDTypeOf<T>));
    workspace_ = Array<std::byte>(stream, static_cast<int64_t>(bytes));
    run(LinearPass::forward);  // the statistics
  }
  void run(LinearPass pass) const {
    const bool norm = p_.prologue == LinearPrologue::layer_norm;
    M* const mean = norm ? statistics_.data() : nullptr;
    M* const inv_std = norm ? mean + p_.rows : nullptr;
    const M* const gamma = norm ? norm_.data() : nullptr;
    const M* const beta = norm ? gamma + p_.in : nullptr;
    if (pass == LinearPass::forward)
      return linear_forward<T>(stream_, variant_, p_,
                               {.x = x_.data(),
                                .w = w_.data(),
                                .bias = bias_.data(),
                                .gamma = gamma,
                                .beta = beta,
                                .mean = mean,
                                .inv_std = inv_std,
                                .residual = residual_ ? other_.data() : nullptr,
                                .y = y_.data()},
                               workspace_.bytes());
    LinearBackward<T> args{.dy = other_.data(),
                           .x = x_.data(),
                           .w = w_.data(),
                           .gamma = gamma,
                           .beta = beta,
                           .mean = mean,
                           .inv_std = inv_std};
    args.dw.data = dw_.data();
    args.dbias.data = dbias_.data();
    if (norm) {
      args.dgamma.data = dnorm_.data();
      args.dbeta.data = dnorm_.data() + p_.in;
    }
    args.dx = dx_.data();
    linear_backward<T>(stream_, variant_, p_, args, workspace_.bytes());
  }
  std::vector<double> result(LinearPass pass) const {
    std::vector<double> out;
    if (pass == LinearPass::forward) {
      for (const T v : y_.host()) out.push_back(static_cast<double>(static_cast<M>(v)));
    } else {
      for (const M v : dw_.host()) out.push_back(static_cast<double>(v));
    }
    return out;
  }

 private:
  Stream stream_;
  LinearVariant variant_;
  LinearProblem p_;
  bool residual_;
  Array<T> x_, other_, y_, dx_;
  Array<M> w_, dw_, bias_, dbias_, norm_, dnorm_, statistics_;
  Array<std::byte> workspace_;
};

template <class T>
void bench_case(Session& session, const Case& test) {
  const DType dtype = kDTypeOf<T>;
  const Device device = session.options().device;
  Case few = test;  // for the comparison with the definition
  few.problem.rows = 37;
  if (!session.timed()) {
    few.problem.in = std::min(few.problem.in, 64);
    few.problem.out = std::min(few.problem.out, 72);
  }
  const LinearProblem& p = test.problem;
  for (const LinearVariant variant : kVariants) {
    if (!linear_supports(device, variant, p, dtype)) continue;
    if (variant == LinearVariant::reference && session.options().variant.empty()) continue;
    std::unique_ptr<Linear<T>> linear;
    for (const LinearPass pass : {LinearPass::forward, LinearPass::backward}) {
      const bool forward = pass == LinearPass::forward;
      const std::string name_of_pass(forward ? "forward" : "backward");
      if (!session.wants(name_of_pass, std::string(name_of(variant)), dtype, test.name)) continue;
      const Linear<double> truth(Stream{}, LinearVariant::reference, few);
      const Linear<T> value(session.stream(), variant, few);
      truth.run(pass);
      value.run(pass);
      if (session.timed() && !linear)
        linear = std::make_unique<Linear<T>>(session.stream(), variant, test);
      Row row{.op = "linear",
              .name = test.name,
              .problem = p.to_string(),
              .pass = name_of_pass,
              .variant = std::string(name_of(variant)),
              .dtype = std::string(name_of(dtype))};
      row.flops = (forward ? 1 : 2) * p.flops();
      const double x = double(p.rows) * p.in, y = double(p.rows) * p.out, w = double(p.in) * p.out;
      row.bytes = forward ? (x + (test.residual ? 2 : 1) * y) * sizeof(T) + w * 4
                          : (2 * x + y) * sizeof(T) + w * 8;
      row.error = relative_error(value.result(pass), truth.result(pass));
      row.tolerance = dtype == DType::bf16 ? 6e-2 : 1e-4;
      row.chosen = linear_choose(device, p, dtype) == variant;
      session.add(row, [&] { linear->run(pass); });
    }
  }
}

}  // namespace

void bench_linear(Session& session) {
  const bool cuda = session.options().device == Device::cuda;
  const int batch = session.options().batch, rows = (batch ? batch : cuda ? 64 : 8) * 197;
  using enum LinearPrologue;
  const Case cases[] = {
      {"deit_small/qkv", {.rows = rows, .in = 384, .out = 1152, .prologue = layer_norm}, false},
      {"deit_small/proj", {.rows = rows, .in = 384, .out = 384}, true},
      {"deit_small/fc1", {.rows = rows, .in = 384, .out = 1536, .prologue = layer_norm}, false},
      {"deit_small/fc2", {.rows = rows, .in = 1536, .out = 384, .prologue = gelu}, true},
  };
  for (const Case& test : cases) {
    if (session.options().list) {
      fmt::print("linear {} {}\n", test.name, test.problem.to_string());
      continue;
    }
    bench_case<float>(session, test);
    bench_case<bf16>(session, test);
  }
}

}  // namespace mono::bench
