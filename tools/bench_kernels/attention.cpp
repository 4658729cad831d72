// Attention at DeiT-S' sizes: images of 224 and 112 pixels, and DINO's crops of 96.
#include "kernels/attention/attention.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "tools/bench_kernels/bench.h"

namespace mono::bench {
namespace {

struct Case {
  const char* name;
  AttentionProblem problem;
};

constexpr AttentionVariant kVariants[] = {AttentionVariant::reference, AttentionVariant::blocked,
                                          AttentionVariant::amx,       AttentionVariant::naive,
                                          AttentionVariant::flash,     AttentionVariant::flash_mma};

template <class T>
class Attention {
 public:
  Attention(Stream stream, AttentionVariant variant, const AttentionProblem& p)
      : stream_(stream),
        variant_(variant),
        p_(p),
        qkv_(normal<T>(stream, rows() * 3 * p.width(), 1)),
        dout_(normal<T>(stream, rows() * p.width(), 2)),
        out_(constant<T>(stream, rows() * p.width(), 0)),
        dqkv_(constant<T>(stream, rows() * 3 * p.width(), 0)),
        lse_(constant<Master<T>>(stream, rows() * p.heads, 0)) {
    size_t bytes = 1;
    for (const AttentionPass pass : {AttentionPass::forward, AttentionPass::backward})
      bytes = std::max(bytes, attention_workspace_bytes(variant, pass, p, kDTypeOf<T>));
    workspace_ = Array<std::byte>(stream, static_cast<int64_t>(bytes));
    run(AttentionPass::forward);  // what backward needs
  }
  void run(AttentionPass pass) const {
    if (pass == AttentionPass::forward)
      attention_forward<T>(stream_, variant_, p_, {qkv_.data(), out_.data(), lse_.data()},
                           workspace_.bytes());
    else
      attention_backward<T>(stream_, variant_, p_,
                            {qkv_.data(), out_.data(), dout_.data(), lse_.data(), dqkv_.data()},
                            workspace_.bytes());
  }
  std::vector<T> result(AttentionPass pass) const {
    return pass == AttentionPass::forward ? out_.host() : dqkv_.host();
  }

 private:
  int64_t rows() const { return int64_t{p_.N} * p_.T; }
  Stream stream_;
  AttentionVariant variant_;
  AttentionProblem p_;
  Array<T> qkv_, dout_, out_, dqkv_;
  Array<Master<T>> lse_;
  Array<std::byte> workspace_;
};

template <class T>
void bench_case(Session& session, const Case& test) {
  const DType dtype = kDTypeOf<T>;
  const AttentionProblem& p = test.problem;
  const Device device = session.options().device;
  AttentionProblem few = p;  // for the comparison with the definition
  few.N = few.heads = 1;
  if (!session.timed()) few.T = std::min(few.T, 37);
  for (const AttentionVariant variant : kVariants) {
    if (!attention_supports(device, variant, p, dtype)) continue;
    std::unique_ptr<Attention<T>> attention;
    for (const AttentionPass pass : {AttentionPass::forward, AttentionPass::backward}) {
      const std::string name_of_pass(name_of(pass)), name_of_variant(name_of(variant));
      if (!session.wants(name_of_pass, name_of_variant, dtype, test.name)) continue;
      const Attention<double> truth(Stream{}, AttentionVariant::reference, few);
      const Attention<T> value(session.stream(), variant, few);
      truth.run(pass);
      value.run(pass);
      if (session.timed() && !attention)
        attention = std::make_unique<Attention<T>>(session.stream(), variant, p);
      Row row{.op = "attention",
              .name = test.name,
              .problem = p.to_string(),
              .pass = name_of_pass,
              .variant = name_of_variant,
              .dtype = std::string(name_of(dtype))};
      row.flops = p.flops(pass);
      row.bytes = p.bytes(pass, dtype);
      row.error = relative_error(value.result(pass), truth.result(pass));
      row.tolerance = dtype == DType::bf16 ? 4e-2 : 1e-4;
      row.chosen = attention_choose(device, p, dtype) == variant;
      session.add(row, [&] { attention->run(pass); });
    }
  }
}

}  // namespace

void bench_attention(Session& session) {
  const bool cuda = session.options().device == Device::cuda;
  const int batch = session.options().batch, N = batch ? batch : cuda ? 64 : 8;
  const Case cases[] = {{"deit_small/224", {.N = N, .T = 197, .heads = 6}},
                        {"deit_small/112", {.N = 2 * N, .T = 50, .heads = 6}},
                        {"deit_small/96", {.N = 2 * N, .T = 37, .heads = 6}}};
  for (const Case& test : cases) {
    if (session.options().list) {
      fmt::print("attention {} {}\n", test.name, test.problem.to_string());
      continue;
    }
    bench_case<float>(session, test);
    bench_case<bf16>(session, test);
  }
}

}  // namespace mono::bench
