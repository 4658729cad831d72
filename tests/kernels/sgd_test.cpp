#include "kernels/sgd/sgd.h"

#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class M>
struct State {
  std::vector<M> w, m;
};

// Five steps of the formula, as torch.optim.SGD writes it, in type M.
template <class M>
State<M> plain(const SgdProblem& p, std::vector<M> w, const std::vector<std::vector<M>>& g) {
  std::vector<M> buffer(w.size());
  for (size_t step = 0; step < g.size(); ++step)
    for (size_t i = 0; i < w.size(); ++i) {
      M gradient = g[step][i] * static_cast<M>(p.grad_scale);
      gradient = gradient + static_cast<M>(p.weight_decay) * w[i];
      buffer[i] = step == 0 ? gradient : static_cast<M>(p.momentum) * buffer[i] + gradient;
      const M update = p.nesterov ? gradient + static_cast<M>(p.momentum) * buffer[i] : buffer[i];
      w[i] = w[i] - static_cast<M>(p.lr) * update;
    }
  return {w, buffer};
}

template <class M>
class Sgd : public ::testing::Test {};
using MasterTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Sgd, MasterTypes);

TYPED_TEST(Sgd, FiveStepsMatchTheFormula) {
  using M = TypeParam;
  for (int64_t n : {1, 31, 33, 40000})
    for (bool nesterov : {false, true})
      for (double decay : {0.0, 1e-2}) {
        const SgdProblem p{.n = n,
                           .lr = 0.1024,
                           .momentum = 0.9,
                           .weight_decay = decay,
                           .nesterov = nesterov,
                           .grad_scale = 0.25};
        const std::vector<M> w = normal_values<M>(n, 1);
        std::vector<std::vector<M>> g;
        std::vector<std::vector<double>> g64;
        for (int step = 0; step < 5; ++step) {
          g.push_back(normal_values<M>(n, 10 + step));
          g64.push_back(convert_to<double>(g.back()));
        }
        Guarded<M> got_w(n), got_m(n);
        for (int64_t i = 0; i < n; ++i) got_w[i] = w[i];
        for (int step = 0; step < 5; ++step)
          sgd_step(p, got_w.data(), got_m.data(), g[step].data());
        const State<M> rounded = plain(p, w, g);
        const State<double> want = plain(p, convert_to<double>(w), g64);
        expect_close("w", got_w.copy(), rounded.w, want.w);
        expect_close("m", got_m.copy(), rounded.m, want.m);
      }
}

TYPED_TEST(Sgd, AnyNumberOfThreadsGivesTheSameBits) {
  using M = TypeParam;
  const SgdProblem p{.n = 100001, .lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4};
  const std::vector<M> g = normal_values<M>(p.n, 2);
  same_for_any_threads([&] {
    std::vector<M> w = normal_values<M>(p.n, 1), m(p.n, M(0.5));
    sgd_step(p, w.data(), m.data(), g.data());
    return w;
  });
}

}  // namespace
}  // namespace mono
