#include "nn/functional/nearest.h"

#include <algorithm>
#include <cmath>
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
    bar_ = -2;  // below every cosine
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

// The bank, normalised, in panels of kPanel rows: (panels, width, kPanel), zero beyond the last.
Tensor pack_bank(FeatureView bank) {
  const int panels = (bank.rows + kPanel - 1) / kPanel;
  const Tensor packed = Tensor::empty({panels, bank.width, kPanel}, DType::f32);
  float* out = packed.data<float>();
  parallel_for(panels, [&](int64_t panel, int) {
    std::vector<float> row(static_cast<size_t>(bank.width));
    float* to = out + panel * bank.width * kPanel;
    for (int j = 0; j < kPanel; ++j) {
      const int b = static_cast<int>(panel) * kPanel + j;
      if (b < bank.rows)
        normalise_row(bank.row(b), row.data(), b);
      else
        std::ranges::fill(row, 0.0f);
      for (int c = 0; c < bank.width; ++c)
        to[int64_t{c} * kPanel + j] = row[static_cast<size_t>(c)];
    }
  });
  return packed;
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

  const auto allowed = [&](int query, int row) {
    return !grouped ||
           bank_groups[static_cast<size_t>(row)] != query_groups[static_cast<size_t>(query)];
  };

  const Tensor packed = pack_bank(bank);
  const float* panels = packed.data<float>();
  Neighbours result;
  result.k = k;
  result.index.resize(static_cast<size_t>(queries.rows) * static_cast<size_t>(k));
  result.similarity.resize(result.index.size());

  const int width = queries.width;
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
      normalise_row(queries.row(begin + i), s.a.data() + int64_t{i} * width, begin + i);
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

Neighbours nearest_others(FeatureView features, int k) {
  std::vector<int> own(static_cast<size_t>(features.rows));
  std::iota(own.begin(), own.end(), 0);
  return nearest(features, features, k, own, own);
}

}  // namespace mono
