#include "train/evaluate/umap.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "train/evaluate/spectral_start.h"
#include "train/evaluate/umap_graph.h"

namespace mono {
namespace {

constexpr int kManyRows = 10000;
// Up to so many epochs, edges are kept as for the usual number (umap-learn).
constexpr int kFewEpochs = 10;
constexpr float kLargestMove = 4;
constexpr double kMinDist = 0.1, kSpread = 1;
constexpr int kNegatives = 5;
constexpr size_t kLanes = 8;  // negative samples at a time
constexpr double kNoise = 1e-4, kExtent = 10;

// x^y for x > 0 by polynomials: a relative error of 1e-6, a tenth of the C library's time, and the
// same bits on every machine.
float power(float x, float y) {
  // x = 2^e m, m in [sqrt(1/2), sqrt(2)); log2 m by the series of artanh
  const int32_t bits = std::bit_cast<int32_t>(x);
  const int32_t e = (bits - 0x3f3504f3) >> 23;
  const float m = std::bit_cast<float>(bits - (e << 23));
  const float z = (m - 1) / (m + 1), z2 = z * z;
  const float series = 1 + z2 * (1.0f / 3 + z2 * (1.0f / 5 + z2 * (1.0f / 7 + z2 / 9)));
  const float exponent = y * (static_cast<float>(e) + 2.88539008f * z * series);
  // 2^exponent = 2^n 2^r, |r| <= 1/2; 2^r by its Taylor series
  const float above = exponent > -120 ? exponent : -120, bounded = above < 120 ? above : 120;
  const float n = (bounded + 12582912.0f) - 12582912.0f;
  const float r = (bounded - n) * 0.693147181f;
  const float fraction =
      1 + r * (1 + r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r / 720)))));
  return fraction * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

struct Point {
  float x, y;
};

// One edge, in one direction: `from` is what negative samples push.
struct Edge {
  int from, to;
  double period;         // epochs between two draws
  double next;           // the epoch of its next draw
  double next_negative;  // up to which its negative samples have been drawn
};

std::vector<Edge> edges_of(const NeighbourGraph& graph, double heaviest) {
  std::vector<Edge> edges;
  for (int i = 0; i < graph.vertices(); ++i)
    for (int64_t e = graph.begin[static_cast<size_t>(i)];
         e < graph.begin[static_cast<size_t>(i) + 1]; ++e) {
      const double period = heaviest / graph.weight[static_cast<size_t>(e)];
      edges.push_back({i, graph.to[static_cast<size_t>(e)], period, period, period / kNegatives});
    }
  return edges;
}

float bounded_move(float value) {
  return std::clamp(value, -kLargestMove, kLargestMove);
}

void move(Point& point, Point from, float coefficient, float rate) {
  const float dx = point.x - from.x, dy = point.y - from.y;
  point.x += rate * bounded_move(coefficient * dx);
  point.y += rate * bounded_move(coefficient * dy);
}

// What pushes a point away from others at these differences; of all lanes, so that the loop is
// vectorised.
void repulsions(const std::array<float, kLanes>& ux, const std::array<float, kLanes>& uy, float a,
                float b, std::array<float, kLanes>& push) {
  for (size_t l = 0; l < kLanes; ++l) {
    const float squared = ux[l] * ux[l] + uy[l] * uy[l];
    const float raised = power(squared > 1e-30f ? squared : 1e-30f, b);
    push[l] = 2 * b / ((0.001f + squared) * (a * raised + 1));
  }
}

void descend(std::vector<Point>& points, std::vector<Edge>& edges, UmapCurve curve, int epochs,
             uint64_t seed) {
  const float a = static_cast<float>(curve.a), b = static_cast<float>(curve.b);
  std::array<float, kLanes> ux{}, uy{}, push{};
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const float rate = 1 - static_cast<float>(epoch) / static_cast<float>(epochs);
    for (size_t e = 0; e < edges.size(); ++e) {
      Edge& edge = edges[e];
      if (edge.next > epoch) continue;
      edge.next += edge.period;
      Point& from = points[static_cast<size_t>(edge.from)];
      Point& to = points[static_cast<size_t>(edge.to)];
      const float dx = from.x - to.x, dy = from.y - to.y, squared = dx * dx + dy * dy;
      if (squared > 0) {
        const float raised = power(squared, b);
        const float pull = -2 * a * b * raised / (squared * (a * raised + 1));
        const Point before = from;
        move(from, to, pull, rate);
        move(to, before, pull, rate);
      }

      const double negative_period = edge.period / kNegatives;
      int left = static_cast<int>((epoch - edge.next_negative) / negative_period);
      edge.next_negative += left * negative_period;
      Philox draw(seed, Purpose::layout, static_cast<uint32_t>(epoch), static_cast<uint32_t>(e));
      while (left > 0) {
        const size_t count = std::min(static_cast<size_t>(left), kLanes);
        left -= static_cast<int>(count);
        for (size_t l = 0; l < count; ++l) {
          const Point other = points[(uint64_t{draw.next_u32()} * points.size()) >> 32];
          ux[l] = from.x - other.x;
          uy[l] = from.y - other.y;
        }
        repulsions(ux, uy, a, b, push);
        for (size_t l = 0; l < count; ++l) {
          from.x += rate * bounded_move(push[l] * ux[l]);
          from.y += rate * bounded_move(push[l] * uy[l]);
        }
      }
    }
  }
}

// Noise against points that coincide, then each axis spread over [0, kExtent].
std::vector<Point> scattered(Matrix start, uint64_t seed) {
  double largest = 0;
  for (const double value : start.values) largest = std::max(largest, std::abs(value));
  Philox draw(seed, Purpose::layout, 0, 0, 2);
  for (double& value : start.values) value = value * (kExtent / largest) + kNoise * draw.normal();
  std::vector<Point> points(static_cast<size_t>(start.rows));
  for (size_t d = 0; d < 2; ++d) {
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (int i = 0; i < start.rows; ++i) {
      low = std::min(low, start.row(i)[d]);
      high = std::max(high, start.row(i)[d]);
    }
    for (int i = 0; i < start.rows; ++i) {
      const double value = kExtent * (start.row(i)[d] - low) / (high - low);
      (d == 0 ? points[static_cast<size_t>(i)].x : points[static_cast<size_t>(i)].y) =
          static_cast<float>(value);
    }
  }
  return points;
}

// The k - 1 nearest others and their distances, by either metric.
NearestByDistance neighbours_of(FeatureView features, int k, UmapMetric metric) {
  if (metric == UmapMetric::euclidean) return nearest_by_distance(features, k - 1);
  Neighbours cosine = nearest_others(features, k - 1);
  NearestByDistance found{cosine.k, std::move(cosine.index), {}};
  for (const float similarity : cosine.similarity)
    found.distance.push_back(std::max(0.0, 1 - static_cast<double>(similarity)));
  return found;
}

}  // namespace

Umap umap(FeatureView features, const UmapOptions& options) {
  MONO_CHECK(options.neighbours >= 2 && options.epochs >= 0, "umap: {} neighbours, {} epochs",
             options.neighbours, options.epochs);
  if (features.rows < 4)
    fail(ErrorKind::data, "UMAP: a layout of {} rows means nothing; it takes 4 or more",
         features.rows);
  Umap result;
  result.neighbours = std::min(options.neighbours, features.rows - 1);
  const int usual = features.rows <= kManyRows ? 500 : 200;
  result.epochs = options.epochs > 0 ? options.epochs : usual;
  const NearestByDistance found = neighbours_of(features, result.neighbours, options.metric);
  NeighbourGraph graph = umap_graph(found.index, found.distance, features.rows, result.neighbours);
  // Edges that would never be drawn go before the start: what they alone connect are islands.
  const double heaviest = *std::ranges::max_element(graph.weight);
  graph =
      without_light_edges(graph, heaviest / (result.epochs > kFewEpochs ? result.epochs : usual));
  const std::vector<int> component = graph.components();
  result.components = 1 + *std::ranges::max_element(component);

  std::vector<Point> points =
      scattered(spectral_start(graph, features, options.seed), options.seed);
  std::vector<Edge> edges = edges_of(graph, heaviest);
  descend(points, edges, fit_umap_curve(kMinDist, kSpread), result.epochs, options.seed);
  result.points = Features(features.rows, 2);
  for (int i = 0; i < features.rows; ++i) {
    result.points.row(i)[0] = points[static_cast<size_t>(i)].x;
    result.points.row(i)[1] = points[static_cast<size_t>(i)].y;
  }
  return result;
}

}  // namespace mono
