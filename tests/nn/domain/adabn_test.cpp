// AdaBN's groups and the statistics that they merge to.
#include "nn/domain/adabn.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"
#include "nn/domain/domain_batch_norm.h"

namespace mono {
namespace {

std::vector<int> first(int n) {
  std::vector<int> ids(static_cast<size_t>(n));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

TEST(BalancedGroups, CoverEveryImageOnceInSizesThatDifferByAtMostOne) {
  for (int n : {2, 3, 5, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 2463})
    for (int size : {2, 3, 32, 64}) {
      const auto groups = balanced_groups(first(n), size, 7, 3);
      std::vector<int> all;
      size_t least = SIZE_MAX, most = 0;
      for (const auto& group : groups) {
        all.insert(all.end(), group.begin(), group.end());
        least = std::min(least, group.size());
        most = std::max(most, group.size());
      }
      EXPECT_GE(least, 2u) << n << " by " << size;
      EXPECT_LE(most - least, 1u) << n << " by " << size;
      EXPECT_LE(most, static_cast<size_t>(size) * 3 / 2 + 1) << n << " by " << size;
      std::ranges::sort(all);
      EXPECT_EQ(all, first(n)) << n << " by " << size;
    }
  EXPECT_EQ(balanced_groups(first(2463), 64, 7, 3).size(), 38u);
}

TEST(BalancedGroups, AreAFunctionOfIdsSeedAndDomainAlone) {
  std::vector<int> shuffled = first(200);
  Philox(1, Purpose::test).shuffle(shuffled);
  const auto groups = balanced_groups(first(200), 64, 7, 3);
  EXPECT_EQ(groups, balanced_groups(shuffled, 64, 7, 3));
  EXPECT_NE(groups, balanced_groups(first(200), 64, 8, 3));
  EXPECT_NE(groups, balanced_groups(first(200), 64, 7, 4));
}

TEST(BalancedGroups, RefuseASingleImage) {
  try {
    balanced_groups({5}, 64, 1, 0);
    FAIL() << "one image was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_NE(std::string(error.what()).find("at least two images"), std::string::npos);
  }
}

// A screen of images (H,W,C) behind one batch norm, or two with a weight-free layer in between.
struct Screen {
  static constexpr int kImages = 45, kHeight = 3, kWidth = 5, kChannels = 7;
  ParameterArena arena;
  NormLayers norms;
  NormLayer *first_norm, *second_norm;
  std::vector<double> values;

  Screen() {
    first_norm = &norms.add(arena, "norm0", kChannels);
    second_norm = &norms.add(arena, "norm1", kChannels);
    arena.allocate(DType::f64);
    arena.initialise(1);
    Philox random(3, Purpose::test);
    values.resize(static_cast<size_t>(kImages) * kHeight * kWidth * kChannels);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = 1e3 + static_cast<double>(i % kChannels) + random.normal();
  }

  Variable batch(std::span<const int> images) const {
    constexpr int64_t kSize = int64_t{kHeight} * kWidth * kChannels;
    const Tensor x =
        Tensor::empty({static_cast<int>(images.size()), kHeight, kWidth, kChannels}, DType::f64);
    for (size_t i = 0; i < images.size(); ++i)
      std::copy_n(values.data() + images[i] * kSize, kSize,
                  x.data<double>() + static_cast<int64_t>(i) * kSize);
    return Variable(x);
  }

  Variable forward(std::span<const int> images, const ForwardContext& context) const {
    const Variable x = domain_batch_norm(batch(images), *first_norm, context);
    return domain_batch_norm(x, *second_norm, context);
  }

  NormStatistics statistics(std::vector<int> images, int group_size) const {
    NormStatistics table(norms, 2, DType::f64);
    domain_statistics(
        norms, balanced_groups(std::move(images), group_size, 7, 3),
        [&](std::span<const int> group, const ForwardContext& context) { forward(group, context); },
        table, 1);
    return table;
  }
};

TEST(DomainStatistics, OfTheFirstLayerAreThoseOfAllImagesAtOnce) {
  const Screen screen;
  const NormStatistics table = screen.statistics(first(Screen::kImages), 8);
  const int C = Screen::kChannels;
  const double pixels = static_cast<double>(screen.values.size()) / C;
  for (int c = 0; c < C; ++c) {
    long double sum = 0, squares = 0;
    for (size_t i = static_cast<size_t>(c); i < screen.values.size(); i += C)
      sum += screen.values[i];
    const long double mean = sum / pixels;
    for (size_t i = static_cast<size_t>(c); i < screen.values.size(); i += C)
      squares += (screen.values[i] - mean) * (screen.values[i] - mean);
    const int64_t column = table.mean().shape().back() + screen.first_norm->offset + c;
    EXPECT_NEAR(table.mean().data<double>()[column], static_cast<double>(mean), 1e-11);
    EXPECT_NEAR(table.variance().data<double>()[column], static_cast<double>(squares / pixels),
                1e-12);
  }
  EXPECT_EQ(table.count(1, 0), pixels);
  EXPECT_EQ(table.count(0, 0), 0);
  EXPECT_EQ(table.mean().data<double>()[screen.first_norm->offset], 0.0) << "row 0 was touched";
}

TEST(DomainStatistics, DependNeitherOnOrderNorOnThreads) {
  const Screen screen;
  std::vector<int> shuffled = first(Screen::kImages);
  Philox(2, Purpose::test).shuffle(shuffled);
  const int threads = num_threads();
  set_num_threads(1);
  const NormStatistics one = screen.statistics(first(Screen::kImages), 8);
  set_num_threads(3);
  const NormStatistics three = screen.statistics(shuffled, 8);
  set_num_threads(threads);
  EXPECT_TRUE(std::ranges::equal(one.mean().span<double>(), three.mean().span<double>()));
  EXPECT_TRUE(std::ranges::equal(one.variance().span<double>(), three.variance().span<double>()));
}

// The reason for a second pass: an affine shift of a whole domain leaves no trace in its output.
TEST(DomainStatistics, RemoveGainAndOffsetOfTheDomain) {
  Screen plain, shifted;
  for (double& value : shifted.values) value = 3 * value + 50;
  const std::vector<int> images = first(Screen::kImages), row(1, 1);
  auto classify = [&](const Screen& screen) {
    const NormStatistics table = screen.statistics(images, 8);
    const int offsets[] = {0, Screen::kImages};
    ForwardContext context;
    context.segments = {1, offsets};
    context.norm = {.source = NormPolicy::Source::table, .table = &table, .row_of_segment = row};
    return screen.forward(images, context);
  };
  const Variable a = classify(plain), b = classify(shifted);
  double most = 0;
  for (int64_t i = 0; i < a.value().elements(); ++i)
    most = std::max(most, std::abs(a.value().data<double>()[i] - b.value().data<double>()[i]));
  EXPECT_LT(most, 1e-4);  // eps is not scaled along
  EXPECT_GT(a.value().data<double>()[0] + a.value().data<double>()[1], 0);
}

}  // namespace
}  // namespace mono
