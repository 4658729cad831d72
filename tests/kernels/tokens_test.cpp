// Position embeddings resampled under every rule: against PyTorch's values, and what must hold of
// any. Gradients: tests/nn/functional/tokens_test.cpp.
#include "kernels/tokens/tokens.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/kernels/op_test.h"
#include "tests/paths.h"

namespace mono {
namespace {

using namespace test;
using enum PositionRule;

constexpr int kGrid = 14;

// The resampled embedding of one channel: tokens of patches that are zero.
std::vector<double> resampled(PositionRule rule, int H, int W, const std::vector<double>& grid) {
  const TokensProblem p{1, H, W, 1, kGrid, rule};
  std::vector<double> pos = {0.0}, y(static_cast<size_t>(p.tokens()));
  pos.insert(pos.end(), grid.begin(), grid.end());
  const std::vector<double> patches(y.size() - 1, 0.0), cls = {0.0};
  Scratch scratch(tokens_workspace_bytes(p, DType::f64));
  tokens_forward<double>(
      Stream{}, p, {.patches = patches.data(), .cls = cls.data(), .pos = pos.data(), .y = y.data()},
      scratch.span());
  return {y.begin() + 1, y.end()};
}

// The numbers of the array `key` of a JSON file, whatever its nesting.
std::vector<double> numbers_of(const std::string& text, const std::string& key) {
  size_t at = text.find('"' + key + '"');
  EXPECT_NE(at, std::string::npos) << key;
  at = text.find('[', at);
  std::vector<double> numbers;
  for (int depth = 0; at < text.size();) {
    const char c = text[at];
    if (c == '[') ++depth;
    if (c == ']' && --depth == 0) break;
    if (c == '-' || (c >= '0' && c <= '9')) {
      size_t used = 0;
      numbers.push_back(std::stod(text.substr(at, 40), &used));
      at += used;
    } else {
      ++at;
    }
  }
  return numbers;
}

TEST(PositionRules, AreWhatPyTorchComputes) {
  const std::string path = test::shared_folder() + "/data/cdcl/derived/golden_pos_embed.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  const std::vector<double> grid = numbers_of(text.str(), "input_14x14");
  ASSERT_EQ(grid.size(), 196u);
  const struct {
    const char* key;
    PositionRule rule;
    int size;
  } cases[] = {{"cdcl_112px_7x7", cdcl, 7},         {"cdcl_96px_6x6", cdcl, 6},
               {"cdcl_256px_16x16", cdcl, 16},      {"dino_96px_6x6_scale_6.1_over_14", dino, 6},
               {"deit_size_16x16", deit, 16},       {"timm_antialias_size_7x7", timm, 7},
               {"timm_antialias_size_6x6", timm, 6}};
  for (const auto& c : cases) {
    const std::vector<double> want = numbers_of(text.str(), c.key);
    const std::vector<double> got = resampled(c.rule, c.size, c.size, grid);
    ASSERT_EQ(got.size(), want.size()) << c.key;
    for (size_t i = 0; i < want.size(); ++i)  // PyTorch computed them in f32, coordinates too
      EXPECT_NEAR(got[i], want[i], 4e-6) << c.key << " " << i;
  }
}

TEST(PositionRules, HalfTheGridHasTheFourTapsOfTheSource) {
  std::vector<double> grid(kGrid * kGrid, 0.0);
  for (int y = 0; y < kGrid; ++y) grid[static_cast<size_t>(y * kGrid + 5)] = 1;  // a column
  const std::vector<double> taps = resampled(cdcl, 7, 7, grid);
  // Output x takes columns 2x - 1 to 2x + 2 by -3/32, 19/32, 19/32, -3/32.
  const double want[] = {0, 0, 0.59375, -0.09375, 0, 0, 0};
  for (size_t x = 0; x < 7; ++x) EXPECT_NEAR(taps[x], want[x], 1e-12) << x;
}

TEST(PositionRules, KeepAConstantAndTheLearntGrid) {
  const std::vector<double> ones(kGrid * kGrid, 1.5);
  const std::vector<double> values = normal_values<double>(kGrid * kGrid, 1);
  for (const PositionRule rule : {cdcl, dino, deit, timm}) {
    for (const auto& [H, W] : {std::pair{7, 7}, {6, 9}, {32, 32}, {1, 1}})
      for (const double v : resampled(rule, H, W, ones)) EXPECT_NEAR(v, 1.5, 1e-12);
    EXPECT_EQ(resampled(rule, kGrid, kGrid, values), values);
  }
}

template <class T>
class TokensTyped : public ::testing::Test {};
TYPED_TEST_SUITE(TokensTyped, ActivationTypes);

TYPED_TEST(TokensTyped, AreTheirDefinitionOnTheLearntGrid) {
  using T = TypeParam;
  using M = Master<T>;
  const TokensProblem p{3, 2, 2, 5, 2, deit};
  const std::vector<T> patches = normal_values<T>(3 * 4 * 5, 1), dy = normal_values<T>(3 * 25, 2);
  const std::vector<M> cls = normal_values<M>(5, 3), pos = normal_values<M>(25, 4),
                       bias = normal_values<M>(5, 5);
  std::vector<T> y(3 * 25), dpatches(patches.size());
  std::vector<M> dcls(5), dpos(25), dbias(5);
  same_for_any_threads([&] {
    Scratch scratch(tokens_workspace_bytes(p, kDTypeOf<T>));
    tokens_forward<T>(Stream{}, p, {patches.data(), cls.data(), pos.data(), bias.data(), y.data()},
                      scratch.span());
    tokens_backward<T>(Stream{}, p,
                       {.dy = dy.data(),
                        .dcls = dcls.data(),
                        .dpos = dpos.data(),
                        .dbias = dbias.data(),
                        .dpatches = dpatches.data()},
                       scratch.span());
    return y;
  });
  for (int c = 0; c < 5; ++c) {
    double sum_bias = 0;
    for (int t = 0; t < 5; ++t) {
      double sum = 0;
      for (int n = 0; n < 3; ++n) {
        const size_t at = static_cast<size_t>((n * 5 + t) * 5 + c);
        sum += to_double(dy[at]);
        if (t == 0) {
          EXPECT_EQ(to_double(y[at]), to_double(T(cls[c] + pos[c])));
        } else {
          const size_t patch = static_cast<size_t>((n * 4 + t - 1) * 5 + c);
          const M value = (static_cast<M>(patches[patch]) + bias[c]) + pos[t * 5 + c];
          EXPECT_EQ(to_double(y[at]), to_double(T(value)));
          EXPECT_EQ(to_double(dpatches[patch]), to_double(dy[at]));
        }
      }
      EXPECT_NEAR(to_double(dpos[t * 5 + c]), sum, 1e-6);
      if (t == 0) {
        EXPECT_NEAR(to_double(dcls[c]), sum, 1e-6);
      }
      if (t > 0) sum_bias += sum;
    }
    EXPECT_NEAR(to_double(dbias[c]), sum_bias, 1e-5);
  }
}

}  // namespace
}  // namespace mono
