// Exact nearest neighbours, by cosine or by distance: all products of two sets of rows in tiles,
// with the best k kept as the tiles go by, so that the (queries, bank) matrix is never stored.
//
//   s(q, b) = <x_q, y_b> / (max(|x_q|, 1e-12) max(|y_b|, 1e-12))
//
// A row of zeros is 0 to everything. Neighbours come in falling similarity; of equal ones the lower
// index first. The sum of a product runs in one order wherever its rows stand, so that equal rows
// give equal bits, and any number of threads gives the same result.
// Work: 2 queries bank width flops; traffic: the bank once for every 256 queries. On the CPU; f32.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mono {

// Rows of features, row-major and packed; borrowed.
struct FeatureView {
  std::span<const float> values;
  int rows = 0, width = 0;

  std::span<const float> row(int i) const {
    return values.subspan(static_cast<size_t>(i) * static_cast<size_t>(width),
                          static_cast<size_t>(width));
  }
};

// The same, owned.
struct Features {
  int rows = 0, width = 0;
  std::vector<float> values;

  Features() = default;
  Features(int row_count, int row_width)
      : rows(row_count),
        width(row_width),
        values(static_cast<size_t>(row_count) * static_cast<size_t>(row_width)) {}
  operator FeatureView() const { return {values, rows, width}; }
  std::span<const float> row(int i) const { return FeatureView(*this).row(i); }
  std::span<float> row(int i) {
    return std::span(values).subspan(static_cast<size_t>(i) * static_cast<size_t>(width),
                                     static_cast<size_t>(width));
  }
};

// Rows divided by max(norm, 1e-12); norms in f64.
Features l2_normalised(FeatureView features);

struct Neighbours {
  int k = 0;
  std::vector<int> index;         // (queries, k) into the bank
  std::vector<float> similarity;  // (queries, k), falling
};

// The k nearest rows of the bank for each query. Where groups are given, rows of the query's own
// group do not count: leave-self-out has each row's own number as its group, "no neighbour of the
// same compound" the compound. Errors: data where values are not finite (the row is named) or a
// query has fewer than k rows to choose from; internal for sizes that do not fit.
Neighbours nearest(FeatureView queries, FeatureView bank, int k,
                   std::span<const int> query_groups = {}, std::span<const int> bank_groups = {});

// The same among the rows of one set, a row not being its own neighbour.
Neighbours nearest_others(FeatureView features, int k);

struct NearestByDistance {
  int k = 0;
  std::vector<int> index;        // (rows, k)
  std::vector<double> distance;  // (rows, k), rising
};

// The k nearest other rows of each row by Euclidean distance; of equal ones the lower index first.
// The same products, by |x - y|^2 = |x|^2 + |y|^2 - 2 <x, y> on rows less their mean; what they
// put first is ranked by distances computed in f64. Where rounding could have hidden a nearer row
// (clusters that lie far apart, many rows at one distance), all rows are ranked so: exact always,
// and slow where most rows are of that kind. Errors as nearest.
NearestByDistance nearest_by_distance(FeatureView features, int k);

}  // namespace mono
