#include "train/evaluate/umap_graph.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

constexpr double kTolerance = 1e-5;       // of the sum of a neighbourhood's memberships
constexpr double kLeastBandwidth = 1e-3;  // of the mean distance
constexpr int kBisections = 64;
constexpr int kRowsPerUnit = 512;

double mean_of(std::span<const double> values, size_t count) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(count);
}

// sigma: the memberships at these distances sum to `target`.
double bandwidth(std::span<const double> distance, double rho, double target) {
  double low = 0, high = std::numeric_limits<double>::infinity(), sigma = 1;
  for (int n = 0; n < kBisections; ++n) {
    double sum = 0;
    for (const double d : distance) sum += d > rho ? std::exp(-(d - rho) / sigma) : 1.0;
    if (std::abs(sum - target) < kTolerance) break;
    if (sum > target)
      high = sigma;
    else
      low = sigma;
    sigma = std::isinf(high) ? sigma * 2 : (low + high) / 2;
  }
  return sigma;
}

struct Membership {
  int to;
  double forward, backward;  // p(to|row), p(row|to)
};

}  // namespace

std::vector<int> NeighbourGraph::components() const {
  std::vector<int> component(static_cast<size_t>(vertices()), -1);
  std::vector<int> stack;
  int count = 0;
  for (int first = 0; first < vertices(); ++first) {
    if (component[static_cast<size_t>(first)] >= 0) continue;
    component[static_cast<size_t>(first)] = count;
    stack.push_back(first);
    while (!stack.empty()) {
      const size_t vertex = static_cast<size_t>(stack.back());
      stack.pop_back();
      for (int64_t e = begin[vertex]; e < begin[vertex + 1]; ++e) {
        const int other = to[static_cast<size_t>(e)];
        if (component[static_cast<size_t>(other)] >= 0) continue;
        component[static_cast<size_t>(other)] = count;
        stack.push_back(other);
      }
    }
    ++count;
  }
  return component;
}

NeighbourGraph umap_graph(std::span<const int> index, std::span<const double> distance, int rows,
                          int k) {
  const size_t others = static_cast<size_t>(k - 1), n = static_cast<size_t>(rows);
  MONO_CHECK(k >= 2 && index.size() == n * others && distance.size() == index.size(),
             "umap_graph: {} indices and {} distances for {} rows of {} neighbours", index.size(),
             distance.size(), rows, k);
  const double target = std::log2(static_cast<double>(k));
  // umap-learn counts the distance 0 of a row to itself in its means.
  const double mean_distance = mean_of(distance, n * static_cast<size_t>(k));
  std::vector<double> membership(index.size());
  parallel_for((rows + kRowsPerUnit - 1) / kRowsPerUnit, [&](int64_t unit, int) {
    const size_t first = static_cast<size_t>(unit) * kRowsPerUnit;
    for (size_t i = first; i < std::min(n, first + kRowsPerUnit); ++i) {
      const std::span<const double> d = distance.subspan(i * others, others);
      const auto apart = std::ranges::find_if(d, [](double value) { return value > 0; });
      const double rho = apart == d.end() ? 0 : *apart;
      const double least =
          kLeastBandwidth * (rho > 0 ? mean_of(d, static_cast<size_t>(k)) : mean_distance);
      const double sigma = std::max(bandwidth(d, rho, target), least);
      for (size_t j = 0; j < others; ++j)
        membership[i * others + j] =
            d[j] <= rho || sigma == 0 ? 1.0 : std::exp(-(d[j] - rho) / sigma);
    }
  });

  std::vector<std::vector<Membership>> lists(n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = i * others; j < (i + 1) * others; ++j) {
      lists[i].push_back({index[j], membership[j], 0});
      lists[static_cast<size_t>(index[j])].push_back({static_cast<int>(i), 0, membership[j]});
    }
  NeighbourGraph graph;
  graph.begin.push_back(0);
  for (std::vector<Membership>& list : lists) {
    std::ranges::stable_sort(list, {}, &Membership::to);
    for (size_t e = 0; e < list.size(); ++e) {
      Membership both = list[e];
      if (e + 1 < list.size() && list[e + 1].to == both.to) {
        ++e;
        both.forward += list[e].forward;
        both.backward += list[e].backward;
      }
      const double weight = both.forward + both.backward - both.forward * both.backward;
      if (!(weight > 0)) continue;  // an exponential that underflowed
      graph.to.push_back(both.to);
      graph.weight.push_back(weight);
    }
    graph.begin.push_back(static_cast<int64_t>(graph.to.size()));
  }
  return graph;
}

NeighbourGraph without_light_edges(const NeighbourGraph& graph, double least) {
  NeighbourGraph out;
  out.begin.push_back(0);
  for (size_t i = 0; i + 1 < graph.begin.size(); ++i) {
    for (int64_t e = graph.begin[i]; e < graph.begin[i + 1]; ++e) {
      const size_t edge = static_cast<size_t>(e);
      if (graph.weight[edge] < least) continue;
      out.to.push_back(graph.to[edge]);
      out.weight.push_back(graph.weight[edge]);
    }
    out.begin.push_back(static_cast<int64_t>(out.to.size()));
  }
  return out;
}

UmapCurve fit_umap_curve(double min_dist, double spread) {
  MONO_CHECK(spread > 0 && min_dist >= 0 && min_dist <= spread, "umap: min_dist {}, spread {}",
             min_dist, spread);
  constexpr int kPoints = 300;
  // Levenberg and Marquardt in (a, b): two equations a step.
  struct Fit {
    double error = 0, aa = 0, ab = 0, bb = 0, ga = 0, gb = 0;
  };
  const auto at = [&](UmapCurve curve) {
    Fit fit;
    for (int i = 0; i < kPoints; ++i) {
      const double x = 3 * spread * i / (kPoints - 1);
      const double y = x < min_dist ? 1.0 : std::exp(-(x - min_dist) / spread);
      const double power = x > 0 ? std::pow(x, 2 * curve.b) : 0;
      const double value = 1 / (1 + curve.a * power), residual = value - y;
      const double da = -value * value * power;
      const double db = x > 0 ? -value * value * curve.a * power * 2 * std::log(x) : 0;
      fit.error += residual * residual;
      fit.aa += da * da;
      fit.ab += da * db;
      fit.bb += db * db;
      fit.ga += da * residual;
      fit.gb += db * residual;
    }
    return fit;
  };
  UmapCurve curve{1, 1};
  Fit fit = at(curve);
  double damping = 1e-3;
  for (int step = 0; step < 200 && damping < 1e12; ++step) {
    const double aa = fit.aa * (1 + damping), bb = fit.bb * (1 + damping);
    const double determinant = aa * bb - fit.ab * fit.ab;
    const UmapCurve next{curve.a - (bb * fit.ga - fit.ab * fit.gb) / determinant,
                         curve.b - (aa * fit.gb - fit.ab * fit.ga) / determinant};
    const Fit tried = next.a > 0 && next.b > 0 ? at(next) : Fit{.error = HUGE_VAL};
    if (tried.error < fit.error) {
      curve = next;
      fit = tried;
      damping /= 10;
    } else {
      damping *= 10;
    }
  }
  return curve;
}

}  // namespace mono
