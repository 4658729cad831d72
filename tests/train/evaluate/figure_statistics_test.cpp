// UMAP, trustworthiness, KS and Wasserstein distances against umap-learn, scikit-learn and SciPy
// (tools/golden/figures.py); Shapley values against permutations written out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"
#include "models/safetensors.h"
#include "tests/paths.h"
#include "train/evaluate/sample_distance.h"
#include "train/evaluate/shapley.h"
#include "train/evaluate/spectral_start.h"
#include "train/evaluate/trustworthiness.h"
#include "train/evaluate/umap.h"
#include "train/evaluate/umap_graph.h"

namespace mono {
namespace {

class FigureStatistics : public ::testing::Test {
 protected:
  FigureStatistics() : file_(test::data_folder() + "/golden/figures.safetensors") {}

  Features features(const std::string& name) const {
    const SafetensorsEntry& entry = file_.entry(name);
    Features result(static_cast<int>(entry.shape[0]), static_cast<int>(entry.shape[1]));
    result.values = file_.values<float>(name);
    return result;
  }
  // One layout of ours beside the mean of umap-learn's.
  void expect_as_trustworthy(const std::string& name, UmapMetric metric) const {
    const Features x = features(name + ".x");
    const Features by_distance = metric == UmapMetric::cosine ? l2_normalised(x) : x;
    const std::vector<double> theirs = file_.values<double>(name + ".trustworthiness");
    const double mean =
        std::accumulate(theirs.begin(), theirs.end(), 0.0) / static_cast<double>(theirs.size());
    const Umap ours = umap(x, {.metric = metric, .seed = 1});
    EXPECT_NEAR(trustworthiness(by_distance, ours.points), mean, 0.02) << name;
  }

  SafetensorsFile file_;
};

TEST_F(FigureStatistics, UmapIsAsTrustworthyAsUmapLearns) {
  expect_as_trustworthy("blobs", UmapMetric::euclidean);
  expect_as_trustworthy("roll", UmapMetric::euclidean);
}

TEST_F(FigureStatistics, UmapOfACosineMetricIsAsTrustworthy) {
  expect_as_trustworthy("cosine", UmapMetric::cosine);
}

TEST_F(FigureStatistics, UmapOfSeveralComponentsIsAsTrustworthy) {
  expect_as_trustworthy("islands", UmapMetric::euclidean);
  EXPECT_EQ(umap(features("islands.x"), {.epochs = 1}).components, 4);
}

TEST_F(FigureStatistics, GraphAndCurveEqualUmapLearns) {
  const Features x = features("roll.x");
  const NearestByDistance found = nearest_by_distance(x, 14);
  const NeighbourGraph graph = umap_graph(found.index, found.distance, x.rows, 15);
  const std::vector<double> sums = file_.values<double>("graph.sums");
  const std::vector<int> counts = file_.values<int32_t>("graph.counts");
  ASSERT_EQ(graph.vertices(), static_cast<int>(sums.size()));
  for (size_t i = 0; i < sums.size(); ++i) {
    EXPECT_EQ(graph.begin[i + 1] - graph.begin[i], counts[i]) << i;
    double sum = 0;
    for (int64_t e = graph.begin[i]; e < graph.begin[i + 1]; ++e)
      sum += graph.weight[static_cast<size_t>(e)];
    EXPECT_NEAR(sum / sums[i], 1, 1e-4) << i;  // umap-learn's distances are f32
  }
  const std::vector<double> settings = file_.values<double>("curve.settings"),
                            ab = file_.values<double>("curve.ab");
  for (size_t i = 0; i < settings.size(); i += 2) {
    const UmapCurve curve = fit_umap_curve(settings[i], settings[i + 1]);
    EXPECT_NEAR(curve.a / ab[i], 1, 1e-4) << settings[i];
    EXPECT_NEAR(curve.b / ab[i + 1], 1, 1e-4) << settings[i];
  }
}

// A path of vertices: the eigenvectors of its Laplacian are cosines; one that Lanczos must work
// for.
TEST(SpectralStart, OfAPathIsItsFirstTwoWaves) {
  constexpr int kVertices = 150;
  NeighbourGraph graph;
  graph.begin.push_back(0);
  for (int i = 0; i < kVertices; ++i) {
    for (const int j : {i - 1, i + 1})
      if (j >= 0 && j < kVertices) {
        graph.to.push_back(j);
        graph.weight.push_back(0.5);
      }
    graph.begin.push_back(static_cast<int64_t>(graph.to.size()));
  }
  const Matrix start = spectral_start(graph, Features(kVertices, 1), 3);
  // D^(1/2) cos(pi m i / (n - 1)), m = 1, 2, up to scale: the walk on a path with reflecting ends.
  for (const size_t m : {1, 2}) {
    double product = 0, ours = 0, theirs = 0;
    for (int i = 0; i < kVertices; ++i) {
      const double degree = i == 0 || i + 1 == kVertices ? 1 : 2;
      const double wave = std::sqrt(degree) *
                          std::cos(std::acos(-1.0) * static_cast<double>(m) * i / (kVertices - 1));
      product += wave * start.row(i)[m - 1];
      ours += start.row(i)[m - 1] * start.row(i)[m - 1];
      theirs += wave * wave;
    }
    EXPECT_NEAR(std::abs(product) / std::sqrt(ours * theirs), 1, 1e-3) << m;
  }
}

// Components too small for a spectral layout stand where the principal component of their centres
// says, at -0.8, -0.2 and 1 (or with the other sign), and spread over half the distance to the
// next.
TEST(SpectralStart, IslandsStandWhereTheirCentresDo) {
  NeighbourGraph graph;
  graph.begin.push_back(0);
  Features features(9, 2);
  const float centres[] = {0, 10, 30};
  for (int i = 0; i < 9; ++i) {
    for (const int other : {(i / 3) * 3 + (i + 1) % 3, (i / 3) * 3 + (i + 2) % 3}) {
      graph.to.push_back(other);
      graph.weight.push_back(1);
    }
    graph.begin.push_back(static_cast<int64_t>(graph.to.size()));
    features.row(i)[0] = centres[i / 3];
  }
  const Matrix start = spectral_start(graph, features, 3);
  const double sign = start.row(8)[0] < 0 ? -1 : 1;
  const double places[] = {-0.8, -0.2, 1}, room[] = {0.3, 0.3, 0.6};
  for (int c = 0; c < 3; ++c) {
    double widest = 0;
    for (int i = 3 * c; i < 3 * c + 3; ++i)
      widest = std::max(
          {widest, std::abs(sign * start.row(i)[0] - places[c]), std::abs(start.row(i)[1])});
    EXPECT_NEAR(widest, room[c], 1e-6) << c;
  }
}

Features random_features(int rows, int width, uint64_t seed) {
  Features x(rows, width);
  Philox draw(seed, Purpose::test);
  for (float& value : x.values) value = static_cast<float>(draw.normal());
  return x;
}

// More rows than one unit of any step has (2,048 of the spectral start), which therefore come from
// several threads.
TEST(Umap, IsTheSameForAnyNumberOfThreads) {
  const Features x = random_features(2200, 3, 5);
  const int before = num_threads();
  std::vector<float> first;
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const std::vector<float> points = umap(x, {.epochs = 12, .seed = 7}).points.values;
    if (first.empty())
      first = points;
    else
      EXPECT_EQ(points, first) << threads;
  }
  set_num_threads(before);
}

TEST_F(FigureStatistics, UmapDependsOnItsSeed) {
  const Features x = features("islands.x");
  EXPECT_NE(umap(x, {.epochs = 40, .seed = 7}).points.values,
            umap(x, {.epochs = 40, .seed = 8}).points.values);
}

// Three clouds of ten rows: with 15 neighbours each row has some in another cloud, whose edges are
// too light to be drawn even once. umap-learn drops those before it looks for components.
TEST(Umap, EdgesThatAreNeverDrawnConnectNothing) {
  Features x = random_features(30, 4, 6);
  for (int i = 0; i < x.rows; ++i) x.row(i)[0] += 30 * static_cast<float>(i / 10);
  const NearestByDistance found = nearest_by_distance(x, 14);
  const NeighbourGraph graph = umap_graph(found.index, found.distance, x.rows, 15);
  const std::vector<int> component = graph.components();
  EXPECT_EQ(*std::ranges::max_element(component), 0);  // one, with them
  EXPECT_EQ(umap(x).components, 3);
  EXPECT_EQ(umap(x, {.epochs = 2}).components, 3);  // so few epochs drop no more than usual

  const NeighbourGraph kept = without_light_edges(graph, 0.01);
  EXPECT_LT(kept.to.size(), graph.to.size());
  for (const double weight : kept.weight) EXPECT_GE(weight, 0.01);
}

TEST(Umap, TakesFewRowsCopiesAndRefusesWhatMeansNothing) {
  Features x(5, 3);
  for (size_t i = 0; i < x.values.size(); ++i) x.values[i] = static_cast<float>(i % 4);
  const Umap few = umap(x);
  EXPECT_EQ(few.neighbours, 4);
  Features copies(40, 2);  // four places, ten copies each
  for (int i = 0; i < copies.rows; ++i) {
    copies.row(i)[0] = static_cast<float>(i % 4);
    copies.row(i)[1] = static_cast<float>(i % 2);
  }
  for (const float value : umap(copies).points.values) EXPECT_TRUE(std::isfinite(value));
  EXPECT_THROW(umap(Features(3, 2)), Error);
  x.values[4] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(umap(x), Error);
}

TEST_F(FigureStatistics, TrustworthinessEqualsScikitLearns) {
  const Features x = features("blobs.x"), y = features("layout.y");
  const std::vector<int> k = file_.values<int32_t>("layout.k");
  const std::vector<double> golden = file_.values<double>("layout.trustworthiness");
  for (size_t i = 0; i < k.size(); ++i)
    EXPECT_NEAR(trustworthiness(x, y, k[i]), golden[i], 1e-12) << k[i];
  EXPECT_EQ(trustworthiness(x, x, 15), 1);
  EXPECT_THROW(trustworthiness(x, y, 160), Error);
}

TEST_F(FigureStatistics, DistancesOfSamplesEqualSciPys) {
  for (const std::string name : {"shifted", "tied", "one", "equal"}) {
    const std::vector<double> a = file_.values<double>(name + ".a"),
                              b = file_.values<double>(name + ".b"),
                              golden = file_.values<double>(name + ".distances");
    EXPECT_NEAR(ks_statistic(a, b), golden[0], 1e-12) << name;
    EXPECT_NEAR(wasserstein1(a, b), golden[1], 1e-12) << name;
    EXPECT_EQ(ks_statistic(b, a), ks_statistic(a, b)) << name;
  }
  EXPECT_THROW(ks_statistic({}, std::vector<double>{1}), Error);
  EXPECT_THROW(wasserstein1(std::vector<double>{NAN}, std::vector<double>{1}), Error);
}

// The mean over all orders of joining of what a player adds when it joins.
std::vector<double> shapley_by_orders(const std::vector<double>& values, size_t players) {
  std::vector<size_t> order(players);
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<double> sum(players);
  double orders = 0;
  do {
    size_t joined = 0;
    for (const size_t player : order) {
      sum[player] += values[joined | size_t{1} << player] - values[joined];
      joined |= size_t{1} << player;
    }
    ++orders;
  } while (std::ranges::next_permutation(order).found);
  for (double& value : sum) value /= orders;
  return sum;
}

TEST(Shapley, EqualsTheMeanOverAllOrdersAndSumsToTheWhole) {
  for (const size_t players : {1u, 2u, 3u, 6u}) {
    Philox draw(players, Purpose::test);
    std::vector<double> values(size_t{1} << players);
    for (double& value : values) value = draw.uniform();
    values[0] = 1.0 / 1139;
    const std::vector<double> ours = shapley_values(values);
    const std::vector<double> expected = shapley_by_orders(values, players);
    ASSERT_EQ(ours.size(), players);
    for (size_t i = 0; i < players; ++i) EXPECT_NEAR(ours[i], expected[i], 1e-12);
    EXPECT_NEAR(std::accumulate(ours.begin(), ours.end(), 0.0), values.back() - values[0], 1e-9);
  }
  EXPECT_THROW(shapley_values(std::vector<double>(6)), Error);
}

}  // namespace
}  // namespace mono
