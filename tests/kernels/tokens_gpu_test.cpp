// Tokens on the GPU against the CPU's.
#include "kernels/tokens/tokens.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class TokensGpu : public ::testing::Test {};
TYPED_TEST_SUITE(TokensGpu, ActivationTypes);

template <class T>
struct Result {
  std::vector<T> y, dpatches;
  std::vector<Master<T>> dcls, dpos, dbias;
};

TYPED_TEST(TokensGpu, MatchesTheCpu) {
  using T = TypeParam;
  using M = Master<T>;
  using enum PositionRule;
  for_each_schedule([] {
    for (const TokensProblem& p :
         {TokensProblem{1, 1, 1, 1, 1, cdcl}, TokensProblem{3, 4, 4, 24, 4, deit},
          TokensProblem{2, 3, 5, 16, 4, timm}, TokensProblem{2, 2, 2, 33, 4, cdcl},
          TokensProblem{2, 5, 6, 8, 4, dino}}) {
      SCOPED_TRACE(p.to_string());
      const GpuStream stream;
      const int64_t image = int64_t{p.tokens()} * p.D;
      const std::vector<T> patches = normal_values<T>(p.N * (image - p.D), 1),
                           dy = normal_values<T>(p.N * image, 2);
      const std::vector<M> cls = normal_values<M>(p.D, 3), bias = normal_values<M>(p.D, 4),
                           pos = normal_values<M>((1 + p.grid * p.grid) * p.D, 5);
      Result<T> want{std::vector<T>(dy.size()), patches, cls, pos, bias};
      const GpuArray<T> gpu_patches(stream, patches), gpu_dy(stream, dy), gpu_y(stream, dy),
          gpu_dpatches(stream, patches);
      const GpuArray<M> gpu_cls(stream, cls), gpu_bias(stream, bias), gpu_pos(stream, pos),
          gpu_dcls(stream, cls), gpu_dpos(stream, pos), gpu_dbias(stream, bias);
      const size_t bytes = tokens_workspace_bytes(p, kDTypeOf<T>);
      const auto work = [&](Stream on, const T* in, const M* c, const M* e, const M* b, T* y,
                            const T* d, M* dc, M* de, M* db, T* dp,
                            std::span<std::byte> workspace) {
        tokens_forward<T>(on, p, {in, c, e, b, y}, workspace);
        tokens_backward<T>(on, p,
                           {.dy = d,
                            .dcls = dc,
                            .dpos = de,
                            .dcls_mode = GradMode::accumulate,
                            .dpos_mode = GradMode::accumulate,
                            .dbias = db,
                            .dbias_mode = GradMode::overwrite,
                            .dpatches = dp,
                            .dpatches_mode = GradMode::accumulate},
                           workspace);
      };
      Scratch scratch(bytes);
      work(Stream{}, patches.data(), cls.data(), pos.data(), bias.data(), want.y.data(), dy.data(),
           want.dcls.data(), want.dpos.data(), want.dbias.data(), want.dpatches.data(),
           scratch.span());
      const GpuArray<std::byte> gpu_scratch(stream, static_cast<int64_t>(bytes));
      work(stream, gpu_patches.data(), gpu_cls.data(), gpu_pos.data(), gpu_bias.data(),
           gpu_y.data(), gpu_dy.data(), gpu_dcls.data(), gpu_dpos.data(), gpu_dbias.data(),
           gpu_dpatches.data(), {gpu_scratch.data(), bytes});
      expect_near("y", gpu_y.host(), want.y);
      expect_near("dpatches", gpu_dpatches.host(), want.dpatches);
      expect_near("dcls", gpu_dcls.host(), want.dcls);
      expect_near("dpos", gpu_dpos.host(), want.dpos);
      expect_near("dbias", gpu_dbias.host(), want.dbias);
    }
  });
}

}  // namespace
}  // namespace mono
