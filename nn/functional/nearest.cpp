#include "nn/functional/nearest.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "kernels/matmul/gemm_tile.h"
#include "runtime/tensor.h"

namespace mono {
namespace {

// A unit is a block of queries; its products with one panel of the bank stay in the second-level
// cache together with the two operands (256 x 384, 384 x 96, 256 x 96 floats: 0.6 MB).
constexpr int kQueries = 256, kPanel = 96;
constexpr int kRowsPerUnit = 1024;  // of plain loops over rows
// By distance: found in f32, ranked in f64. So many more are ranked than are wanted.
constexpr int kSpareCandidates = 16;
constexpr double kRounding = 0x1p-24;  // of one operation in f32

struct Candidate {
  float similarity;
  int index;
};
// Best first.
bool better(const Candidate& a, const Candidate& b) {
  return a.similarity > b.similarity || (a.similarity == b.similarity && a.index < b.index);
}

// The best k of what is offered in the order of its index. Candidates gather until there are twice
// k, then the worse half goes: a constant number of steps for each.
class Best {
 public:
  void reset(int k) {
    k_ = static_cast<size_t>(k);
    kept_.clear();
    kept_.reserve(2 * k_);
    bar_ = -std::numeric_limits<float>::infinity();
  }
  // What is not above it, and comes later, is not among the best.
  float bar() const { return bar_; }
  void offer(float similarity, int index) {
    kept_.push_back({similarity, index});
    if (kept_.size() >= 2 * k_) cut();
  }
  std::vector<Candidate>& finish() {
    cut();
    std::ranges::sort(kept_, better);
    return kept_;
  }

 private:
  void cut() {
    if (kept_.size() < k_) return;
    const auto last = kept_.begin() + static_cast<int64_t>(k_) - 1;
    std::nth_element(kept_.begin(), last, kept_.end(), better);
    bar_ = last->similarity;
    kept_.resize(k_);
  }
  size_t k_ = 0;
  std::vector<Candidate> kept_;
  float bar_ = 0;
};

// Whether any of the values is above the bar; without branches, so that it is vectorised.
bool any_above(const float* values, int count, float bar) {
  int above = 0;
  for (int j = 0; j < count; ++j) above |= static_cast<int>(values[j] > bar);
  return above != 0;
}

void normalise_row(std::span<const float> from, float* to, int row) {
  double sum = 0;
  for (const float value : from) sum += static_cast<double>(value) * static_cast<double>(value);
  if (!std::isfinite(sum))
    fail(ErrorKind::data, "features: row {} holds a value that is not finite", row);
  const double scale = 1.0 / std::max(std::sqrt(sum), 1e-12);
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = static_cast<float>(static_cast<double>(from[i]) * scale);
}

void check_view(const char* what, FeatureView view) {
  MONO_CHECK(
      view.rows >= 0 && view.width >= 1 &&
          view.values.size() == static_cast<size_t>(view.rows) * static_cast<size_t>(view.width),
      "nearest: {} has {} values for ({}, {})", what, view.values.size(), view.rows, view.width);
}

// One side of the products: how row i enters them. Zero beyond the last row.
struct Operand {
  int rows = 0;
  std::function<void(int row, float* to)> write;
};

// The bank in panels of kPanel rows: (panels, width, kPanel).
Tensor pack_bank(const Operand& bank, int width) {
  const int panels = (bank.rows + kPanel - 1) / kPanel;
  const Tensor packed = Tensor::empty({panels, width, kPanel}, DType::f32);
  float* out = packed.data<float>();
  parallel_for(panels, [&](int64_t panel, int) {
    std::vector<float> row(static_cast<size_t>(width));
    float* to = out + panel * width * kPanel;
    for (int j = 0; j < kPanel; ++j) {
      const int b = static_cast<int>(panel) * kPanel + j;
      if (b < bank.rows)
        bank.write(b, row.data());
      else
        std::ranges::fill(row, 0.0f);
      for (int c = 0; c < width; ++c) to[int64_t{c} * kPanel + j] = row[static_cast<size_t>(c)];
    }
  });
  return packed;
}

// For each query the k rows of the bank with the largest products among those that
// allowed(query, row) admits.
template <class Allowed>
Neighbours largest_products(const Operand& queries, const Operand& bank, int width, int k,
                            const Allowed& allowed) {
  const Tensor packed = pack_bank(bank, width);
  const float* panels = packed.data<float>();
  Neighbours result;
  result.k = k;
  result.index.resize(static_cast<size_t>(queries.rows) * static_cast<size_t>(k));
  result.similarity.resize(result.index.size());

  const size_t block_size = static_cast<size_t>(std::min(kQueries, queries.rows));
  struct Scratch {
    std::vector<float> a, c;
    std::vector<Best> best;
  };
  std::vector<Scratch> scratch(static_cast<size_t>(num_threads()));

  parallel_for((queries.rows + kQueries - 1) / kQueries, [&](int64_t unit, int worker) {
    Scratch& s = scratch[static_cast<size_t>(worker)];
    s.a.resize(block_size * static_cast<size_t>(width));
    s.c.resize(block_size * kPanel);
    s.best.resize(block_size);
    const int begin = static_cast<int>(unit) * kQueries;
    const int rows = std::min(kQueries, queries.rows - begin);
    for (int i = 0; i < rows; ++i) {
      queries.write(begin + i, s.a.data() + int64_t{i} * width);
      s.best[static_cast<size_t>(i)].reset(k);
    }
    for (int first = 0; first < bank.rows; first += kPanel) {
      const int columns = std::min(kPanel, bank.rows - first);
      std::ranges::fill(s.c, 0.0f);
      gemm_add<float>(rows, kPanel, width, s.a.data(), width, 1, panels + int64_t{first} * width,
                      kPanel, s.c.data(), kPanel);
      for (int i = 0; i < rows; ++i) {
        Best& best = s.best[static_cast<size_t>(i)];
        const float* row = s.c.data() + int64_t{i} * kPanel;
        if (!any_above(row, kPanel, best.bar())) continue;
        for (int j = 0; j < columns; ++j)
          if (row[j] > best.bar() && allowed(begin + i, first + j)) best.offer(row[j], first + j);
      }
    }
    for (int i = 0; i < rows; ++i) {
      const std::vector<Candidate>& best = s.best[static_cast<size_t>(i)].finish();
      if (best.size() < static_cast<size_t>(k))
        fail(ErrorKind::data,
             "nearest: query row {} has {} rows of other groups to choose from, {} neighbours are "
             "asked for",
             begin + i, best.size(), k);
      const size_t at = static_cast<size_t>(begin + i) * static_cast<size_t>(k);
      for (size_t n = 0; n < best.size(); ++n) {
        result.index[at + n] = best[n].index;
        result.similarity[at + n] = best[n].similarity;
      }
    }
  });
  return result;
}

Operand normalised_rows(FeatureView view) {
  return {view.rows, [view](int i, float* to) { normalise_row(view.row(i), to, i); }};
}

// Less their mean, which no distance depends on: products near 0 keep more digits.
Features centred(FeatureView features) {
  const size_t width = static_cast<size_t>(features.width);
  std::vector<double> mean(width);
  for (int i = 0; i < features.rows; ++i)
    for (size_t c = 0; c < width; ++c) mean[c] += static_cast<double>(features.row(i)[c]);
  for (double& value : mean) value /= features.rows;
  Features out(features.rows, features.width);
  for (int i = 0; i < features.rows; ++i)
    for (size_t c = 0; c < width; ++c)
      out.row(i)[c] = static_cast<float>(static_cast<double>(features.row(i)[c]) - mean[c]);
  return out;
}

double squared_norm(std::span<const float> row) {
  double sum = 0;
  for (const float value : row) sum += static_cast<double>(value) * static_cast<double>(value);
  return sum;
}

double distance_between(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t c = 0; c < a.size(); ++c) {
    const double difference = static_cast<double>(a[c]) - static_cast<double>(b[c]);
    sum += difference * difference;
  }
  return std::sqrt(sum);
}

// Whether every row that is not farther than `farthest` from a row of that (centred) norm has a
// product above `bar` in f32: then no row but the candidates can be among the nearest.
//
// Such a row y has |y| <= norm + farthest, and <x, y> - |y|^2 / 2 = (|x|^2 - |x - y|^2) / 2, less
// what the rounding of centred rows (once for each) and of the sum (once for each term) can take.
bool certain(double norm, double farthest, double bar, int width) {
  const double other = (norm + farthest) * (1 + 1e-6);
  const double apart = farthest + 2 * kRounding * (norm + other);
  const double product_error = 1.01 * kRounding * (width + 4) * (norm + other / 2) * other;
  return (norm * norm - apart * apart) / 2 - product_error > bar;
}

}  // namespace

Features l2_normalised(FeatureView features) {
  check_view("the set", features);
  Features out(features.rows, features.width);
  parallel_for((features.rows + kRowsPerUnit - 1) / kRowsPerUnit, [&](int64_t unit, int) {
    const int begin = static_cast<int>(unit) * kRowsPerUnit;
    for (int i = begin; i < std::min(features.rows, begin + kRowsPerUnit); ++i)
      normalise_row(features.row(i), out.row(i).data(), i);
  });
  return out;
}

Neighbours nearest(FeatureView queries, FeatureView bank, int k, std::span<const int> query_groups,
                   std::span<const int> bank_groups) {
  check_view("the query set", queries);
  check_view("the bank", bank);
  MONO_CHECK(queries.width == bank.width, "nearest: queries are {} wide, the bank {}",
             queries.width, bank.width);
  const bool grouped = !query_groups.empty() || !bank_groups.empty();
  MONO_CHECK(!grouped || (static_cast<int>(query_groups.size()) == queries.rows &&
                          static_cast<int>(bank_groups.size()) == bank.rows),
             "nearest: {} and {} groups for {} queries and {} rows", query_groups.size(),
             bank_groups.size(), queries.rows, bank.rows);
  MONO_CHECK(k >= 1, "nearest: k = {}", k);
  if (k > bank.rows)
    fail(ErrorKind::data, "nearest: {} neighbours are asked for, but the bank has {} rows", k,
         bank.rows);

  return largest_products(
      normalised_rows(queries), normalised_rows(bank), queries.width, k, [&](int query, int row) {
        return !grouped ||
               bank_groups[static_cast<size_t>(row)] != query_groups[static_cast<size_t>(query)];
      });
}

Neighbours nearest_others(FeatureView features, int k) {
  std::vector<int> own(static_cast<size_t>(features.rows));
  std::iota(own.begin(), own.end(), 0);
  return nearest(features, features, k, own, own);
}

NearestByDistance nearest_by_distance(FeatureView features, int k) {
  check_view("the set", features);
  MONO_CHECK(k >= 1, "nearest: k = {}", k);
  if (k >= features.rows)
    fail(ErrorKind::data, "nearest: {} neighbours are asked for, but there are {} other rows", k,
         features.rows - 1);
  for (int i = 0; i < features.rows; ++i)
    if (!std::isfinite(squared_norm(features.row(i))))
      fail(ErrorKind::data, "features: row {} holds a value that is not finite", i);

  // -|x - y|^2 / 2 = <x, y> - |y|^2 / 2 - |x|^2 / 2: the last term is one for all y.
  const Features x = centred(features);
  const size_t width = static_cast<size_t>(features.width);
  const auto write = [&x, width](int i, float* to, float last) {
    std::ranges::copy(x.row(i), to);
    to[width] = last;
  };
  const Operand queries{x.rows, [&](int i, float* to) { write(i, to, 1); }};
  const Operand bank{x.rows, [&](int i, float* to) {
                       write(i, to, static_cast<float>(-squared_norm(x.row(i)) / 2));
                     }};
  const int candidates = std::min(k + kSpareCandidates, features.rows - 1);
  const Neighbours found = largest_products(queries, bank, features.width + 1, candidates,
                                            [](int query, int row) { return query != row; });

  NearestByDistance result;
  result.k = k;
  const size_t wanted = static_cast<size_t>(k), offered = static_cast<size_t>(candidates);
  result.index.resize(static_cast<size_t>(features.rows) * wanted);
  result.distance.resize(result.index.size());
  parallel_for((features.rows + kRowsPerUnit - 1) / kRowsPerUnit, [&](int64_t unit, int) {
    std::vector<std::pair<double, int>> ranked;
    const int begin = static_cast<int>(unit) * kRowsPerUnit;
    for (int i = begin; i < std::min(features.rows, begin + kRowsPerUnit); ++i) {
      const size_t row = static_cast<size_t>(i);
      const auto rank = [&](int j) {
        ranked.emplace_back(distance_between(features.row(i), features.row(j)), j);
      };
      ranked.clear();
      for (size_t n = 0; n < offered; ++n) rank(found.index[row * offered + n]);
      std::ranges::sort(ranked);
      const double bar = static_cast<double>(found.similarity[(row + 1) * offered - 1]);
      if (candidates + 1 < features.rows &&
          !certain(std::sqrt(squared_norm(x.row(i))), ranked[wanted - 1].first, bar, x.width)) {
        ranked.clear();
        for (int j = 0; j < features.rows; ++j)
          if (j != i) rank(j);
        std::ranges::partial_sort(ranked, ranked.begin() + k);
      }
      for (size_t n = 0; n < wanted; ++n) {
        result.distance[row * wanted + n] = ranked[n].first;
        result.index[row * wanted + n] = ranked[n].second;
      }
    }
  });
  return result;
}

}  // namespace mono
