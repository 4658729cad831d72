#include "train/evaluate/spectral_start.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

constexpr int kDimensions = 2;
constexpr int kMostSteps = 400;       // of Lanczos: what it has then is a start that is good enough
constexpr int kFirstCheck = 20;       // then at 40, 80, ...
constexpr double kResidual = 1e-4;    // of an eigenvector that counts as found
constexpr double kBreakdown = 1e-10;  // the Krylov space ends
constexpr int kRowsPerUnit = 2048;
constexpr int kLeastForSpectral = 2 * kDimensions;  // smaller components are placed at random

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void scale(Vector& v, double factor) {
  for (double& value : v) value *= factor;
}

// One component of the graph: D^(-1/2) W D^(-1/2), with vertices renumbered.
struct NormalisedGraph {
  std::vector<int64_t> begin;
  std::vector<int> to;
  Vector weight;
  Vector smoothest;  // D^(1/2) 1, of norm 1: the eigenvector of the largest value, 1

  NormalisedGraph(const NeighbourGraph& graph, const std::vector<int>& vertices,
                  const std::vector<int>& number) {
    Vector degree;
    for (const int vertex : vertices) {
      double sum = 0;
      for (int64_t e = graph.begin[static_cast<size_t>(vertex)];
           e < graph.begin[static_cast<size_t>(vertex) + 1]; ++e)
        sum += graph.weight[static_cast<size_t>(e)];
      degree.push_back(sum);
      smoothest.push_back(std::sqrt(sum));
    }
    scale(smoothest, 1 / std::sqrt(dot(smoothest, smoothest)));
    begin.push_back(0);
    for (size_t i = 0; i < vertices.size(); ++i) {
      const size_t vertex = static_cast<size_t>(vertices[i]);
      for (int64_t e = graph.begin[vertex]; e < graph.begin[vertex + 1]; ++e) {
        const int j = number[static_cast<size_t>(graph.to[static_cast<size_t>(e)])];
        to.push_back(j);
        weight.push_back(graph.weight[static_cast<size_t>(e)] /
                         std::sqrt(degree[i] * degree[static_cast<size_t>(j)]));
      }
      begin.push_back(static_cast<int64_t>(to.size()));
    }
  }
  size_t size() const { return smoothest.size(); }
  static int64_t units(size_t rows) {
    return static_cast<int64_t>((rows + kRowsPerUnit - 1) / kRowsPerUnit);
  }

  Vector times(const Vector& x) const {
    Vector y(size());
    parallel_for(units(size()), [&](int64_t unit, int) {
      const size_t first = static_cast<size_t>(unit) * kRowsPerUnit;
      for (size_t i = first; i < std::min(size(), first + kRowsPerUnit); ++i) {
        double sum = 0;
        for (int64_t e = begin[i]; e < begin[i + 1]; ++e)
          sum +=
              weight[static_cast<size_t>(e)] * x[static_cast<size_t>(to[static_cast<size_t>(e)])];
        y[i] = sum;
      }
    });
    return y;
  }
};

// v less its parts along the basis, twice: once is not enough when little is left.
void orthogonalise(Vector& v, const std::vector<Vector>& basis) {
  Vector part(basis.size());
  for (int pass = 0; pass < 2; ++pass) {
    parallel_for(static_cast<int64_t>(basis.size()), [&](int64_t j, int) {
      part[static_cast<size_t>(j)] = dot(v, basis[static_cast<size_t>(j)]);
    });
    parallel_for(NormalisedGraph::units(v.size()), [&](int64_t unit, int) {
      const size_t first = static_cast<size_t>(unit) * kRowsPerUnit;
      const size_t last = std::min(v.size(), first + kRowsPerUnit);
      for (size_t j = 0; j < basis.size(); ++j)
        for (size_t i = first; i < last; ++i) v[i] -= part[j] * basis[j][i];
    });
  }
}

Vector random_direction(Philox& draw, const std::vector<Vector>& basis) {
  Vector v(basis.front().size());
  for (double& value : v) value = draw.normal();
  orthogonalise(v, basis);
  scale(v, 1 / std::sqrt(dot(v, v)));
  return v;
}

// The two eigenvectors of the largest values but the first, as (size, 2).
Matrix smooth_vectors(const NormalisedGraph& graph, Philox draw) {
  std::vector<Vector> basis = {graph.smoothest};  // and Lanczos's from [1] on
  Vector diagonal, off;                           // of the tridiagonal matrix
  const int most = std::min(kMostSteps, static_cast<int>(graph.size()) - 1);
  SymmetricEigen small;
  for (int step = 1, check = kFirstCheck;; ++step) {
    if (step == 1) basis.push_back(random_direction(draw, basis));
    Vector next = graph.times(basis.back());
    diagonal.push_back(dot(next, basis.back()));
    orthogonalise(next, basis);
    const double length = std::sqrt(dot(next, next));
    if (step == most || step == check) {
      Matrix tridiagonal(step, step);
      for (int i = 0; i < step; ++i) {
        tridiagonal.row(i)[static_cast<size_t>(i)] = diagonal[static_cast<size_t>(i)];
        if (i + 1 == step) break;
        tridiagonal.row(i)[static_cast<size_t>(i) + 1] = off[static_cast<size_t>(i)];
        tridiagonal.row(i + 1)[static_cast<size_t>(i)] = off[static_cast<size_t>(i)];
      }
      small = symmetric_eigen(tridiagonal);
      const std::span<const double> last = small.vectors.row(step - 1);
      const size_t count = last.size();
      const double residual =
          length * std::max(std::abs(last[count - 1]), count > 1 ? std::abs(last[count - 2]) : 0.0);
      if (step == most || residual < kResidual) break;
      check *= 2;
    }
    if (length > kBreakdown) {
      scale(next, 1 / length);
      basis.push_back(std::move(next));
      off.push_back(length);
    } else {  // an invariant subspace: go on in another one
      basis.push_back(random_direction(draw, basis));
      off.push_back(0);
    }
  }

  Matrix vectors(static_cast<int>(graph.size()), kDimensions);
  const size_t steps = diagonal.size();
  for (size_t d = 0; d < std::min<size_t>(kDimensions, steps); ++d) {
    for (size_t j = 0; j < steps; ++j) {
      const double coefficient = small.vectors.row(static_cast<int>(j))[steps - 1 - d];
      for (size_t i = 0; i < graph.size(); ++i)
        vectors.row(static_cast<int>(i))[d] += coefficient * basis[j + 1][i];
    }
  }
  return vectors;
}

// Places for the components' centres: their first two principal components, the widest of which
// spans [-1, 1].
Matrix places_of(FeatureView features, const std::vector<std::vector<int>>& members) {
  const int count = static_cast<int>(members.size());
  Matrix centres(count, features.width);
  std::vector<int> all;
  for (int c = 0; c < count; ++c) {
    const std::vector<int>& rows = members[static_cast<size_t>(c)];
    for (const int i : rows)
      for (size_t x = 0; x < static_cast<size_t>(features.width); ++x)
        centres.row(c)[x] +=
            static_cast<double>(features.row(i)[x]) / static_cast<double>(rows.size());
    all.push_back(c);
  }
  centres = centred_rows(centres, all, column_moments(centres, all, 0).mean);
  const SymmetricEigen eigen = symmetric_eigen(gram(centres));  // values rising
  Matrix axes(features.width, kDimensions);
  const size_t last = static_cast<size_t>(features.width) - 1;
  for (int x = 0; x < features.width; ++x)
    for (size_t d = 0; d < std::min<size_t>(kDimensions, last + 1); ++d)
      axes.row(x)[d] = eigen.vectors.row(x)[last - d];
  Matrix places = multiply(centres, axes);
  double widest = 0;
  for (const double value : places.values) widest = std::max(widest, std::abs(value));
  if (widest > 0) scale(places.values, 1 / widest);
  return places;
}

// Half the distance from place c to the nearest other one; not less than a thousandth of the whole.
double room_at(const Matrix& places, int c) {
  double nearest = std::numeric_limits<double>::infinity();
  for (int other = 0; other < places.rows; ++other) {
    const double distance = std::hypot(places.row(c)[0] - places.row(other)[0],
                                       places.row(c)[1] - places.row(other)[1]);
    if (other != c && distance > 0) nearest = std::min(nearest, distance);
  }
  return std::isinf(nearest) ? 1 : std::max(nearest / 2, 1e-3);
}

}  // namespace

Matrix spectral_start(const NeighbourGraph& graph, FeatureView features, uint64_t seed) {
  const std::vector<int> component = graph.components();
  std::vector<std::vector<int>> members;
  std::vector<int> number(component.size());
  for (size_t i = 0; i < component.size(); ++i) {
    const size_t c = static_cast<size_t>(component[i]);
    if (c == members.size()) members.emplace_back();
    number[i] = static_cast<int>(members[c].size());
    members[c].push_back(static_cast<int>(i));
  }
  Matrix places(1, kDimensions);
  if (members.size() > 1) places = places_of(features, members);

  Matrix start(graph.vertices(), kDimensions);
  for (size_t c = 0; c < members.size(); ++c) {
    const std::vector<int>& rows = members[c];
    const double room = room_at(places, static_cast<int>(c));
    Philox draw(seed, Purpose::layout, 0, static_cast<uint32_t>(c), 1);
    Matrix layout(static_cast<int>(rows.size()), kDimensions);
    if (static_cast<int>(rows.size()) >= kLeastForSpectral)
      layout = smooth_vectors(NormalisedGraph(graph, rows, number), draw);
    else
      for (double& value : layout.values) value = 2 * draw.uniform() - 1;
    double largest = 0;
    for (const double value : layout.values) largest = std::max(largest, std::abs(value));
    for (size_t i = 0; i < rows.size(); ++i)
      for (size_t d = 0; d < kDimensions; ++d)
        start.row(rows[i])[d] = places.row(static_cast<int>(c))[d] +
                                layout.row(static_cast<int>(i))[d] * room / largest;
  }
  return start;
}

}  // namespace mono
