// Matrix products: the classifier heads, DeiT-S' layers on 8 images, and squares for comparison
// with other libraries.
#include "kernels/matmul/matmul.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "tools/bench_kernels/bench.h"

namespace mono::bench {
namespace {

struct Case {
  const char* name;
  MatmulProblem problem;
};

constexpr MatmulVariant kVariants[] = {MatmulVariant::reference, MatmulVariant::onednn,
                                       MatmulVariant::naive,     MatmulVariant::smem_tiled,
                                       MatmulVariant::mma,       MatmulVariant::cublaslt};

template <class T>
class Product {
 public:
  Product(Stream stream, const MatmulProblem& p)
      : stream_(stream),
        p_(p),
        a_(normal<T>(stream, int64_t{p.M} * p.K, 1)),
        b_(normal<T>(stream, int64_t{p.K} * p.N, 2)),
        c_(constant<T>(stream, int64_t{p.M} * p.N, 0)) {}
  void prepare(MatmulVariant variant) {
    const auto bytes = static_cast<int64_t>(matmul_workspace_bytes(variant, p_, kDTypeOf<T>));
    workspace_ = Array<std::byte>(stream_, std::max<int64_t>(bytes, 1));
  }
  void run(MatmulVariant variant) const {
    matmul<T, T, T>(stream_, variant, p_, kDTypeOf<T>,
                    {.a = a_.data(), .b = b_.data(), .c = c_.data()}, workspace_.bytes());
  }
  std::vector<T> result() const { return c_.host(); }

 private:
  Stream stream_;
  MatmulProblem p_;
  Array<T> a_, b_, c_;
  Array<std::byte> workspace_;
};

template <class T>
double error_of(Stream stream, MatmulVariant variant, MatmulProblem p, int most) {
  p.M = std::min(p.M, most);
  p.N = std::min(p.N, most + 5);
  p.K = std::min(p.K, 4 * most);
  Product<double> truth(Stream{}, p);
  Product<T> value(stream, p);
  truth.prepare(MatmulVariant::reference);
  value.prepare(variant);
  truth.run(MatmulVariant::reference);
  value.run(variant);
  return relative_error(value.result(), truth.result());
}

template <class T>
void bench_case(Session& session, const Case& test) {
  const DType dtype = kDTypeOf<T>;
  const MatmulProblem& p = test.problem;
  const Device device = session.options().device;
  for (const MatmulVariant variant : kVariants) {
    if (!matmul_supports(device, variant, p, dtype) ||
        !session.wants("product", std::string(name_of(variant)), dtype, test.name))
      continue;
    const bool definition = variant == MatmulVariant::reference || variant == MatmulVariant::naive;
    if (definition && p.flops() > 1e10 && session.options().variant.empty()) continue;
    std::unique_ptr<Product<T>> product;
    if (session.timed()) {
      product = std::make_unique<Product<T>>(session.stream(), p);
      product->prepare(variant);
    }
    Row row{.op = "matmul",
            .name = test.name,
            .problem = p.to_string(),
            .pass = "product",
            .variant = std::string(name_of(variant)),
            .dtype = std::string(name_of(dtype))};
    row.flops = p.flops();
    row.bytes = (double(p.M) * p.K + double(p.K) * p.N + double(p.M) * p.N) * sizeof(T);
    row.error = error_of<T>(session.stream(), variant, p, session.timed() ? 256 : 64);
    row.tolerance = dtype == DType::bf16 ? 4e-2 : 1e-4;
    row.chosen = matmul_choose(device, p, dtype) == variant;
    row.library = variant == MatmulVariant::cublaslt || variant == MatmulVariant::onednn;
    session.add(row, [&] { product->run(variant); });
  }
}

}  // namespace

void bench_matmul(Session& session) {
  std::vector<Case> cases = {
      {"head/neck", {32, 1024, 2208, false, true}},
      {"head/logits", {32, 1139, 1024, false, true}},
      {"head/logits.dgrad", {32, 1024, 1139}},
      {"head/logits.wgrad", {1139, 1024, 32, true, false}},
      {"deit_small/fc1", {1576, 1536, 384, false, true}},
      {"deit_small/fc1.dgrad", {1576, 384, 1536}},
      {"deit_small/fc1.wgrad", {1536, 384, 1576, true, false}},
      {"deit_small/qkv", {1576, 1152, 384, false, true}},
      {"deit_small/proj", {1576, 384, 384, false, true}},
      {"deit_small/fc2", {1576, 384, 1536, false, true}},
      {"square/1024", {1024, 1024, 1024}},
  };
  if (session.options().device == Device::cuda) {
    cases.push_back({"square/4096", {4096, 4096, 4096}});
    cases.push_back({"square/8192", {8192, 8192, 8192}});
  }
  for (const Case& test : cases) {
    if (session.options().list) {
      fmt::print("matmul {} {}\n", test.name, test.problem.to_string());
      continue;
    }
    bench_case<float>(session, test);
    bench_case<bf16>(session, test);
  }
}

}  // namespace mono::bench
