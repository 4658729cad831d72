// Small dense linear algebra in f64 (Eigen behind it), for what is fitted to embeddings.
//
// Sums run in an order fixed by the sizes; any number of threads gives the same bits.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "nn/functional/nearest.h"

namespace mono {

struct Matrix {  // row-major
  int rows = 0, columns = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(int row_count, int column_count)
      : rows(row_count),
        columns(column_count),
        values(static_cast<size_t>(row_count) * static_cast<size_t>(column_count)) {}
  std::span<double> row(int i) { return std::span(values).subspan(offset(i), width()); }
  std::span<const double> row(int i) const { return std::span(values).subspan(offset(i), width()); }

 private:
  size_t width() const { return static_cast<size_t>(columns); }
  size_t offset(int i) const { return static_cast<size_t>(i) * width(); }
};

// Widened; error data for a value that is not finite, naming the row.
Matrix matrix_of(FeatureView features);
Features features_of(const Matrix& matrix);

Matrix multiply(const Matrix& a, const Matrix& b);  // a b
Matrix gram(const Matrix& x);                       // x^T x

// Mean and standard deviation of each column over some rows, by two passes.
struct ColumnMoments {
  std::vector<double> mean, variance;
};
// variance: the sum of squared differences / (number of rows - correction).
ColumnMoments column_moments(const Matrix& x, std::span<const int> rows, int correction);

// (x - mean) of some rows, as a matrix of its own.
Matrix centred_rows(const Matrix& x, std::span<const int> rows, std::span<const double> mean);

// Of a symmetric matrix: m = vectors diag(values) vectors^T, values rising.
struct SymmetricEigen {
  std::vector<double> values;
  Matrix vectors;  // a column each
};
SymmetricEigen symmetric_eigen(const Matrix& m);
// vectors diag(f(values)) vectors^T
Matrix symmetric_function(const SymmetricEigen& eigen, const std::function<double(double)>& f);

}  // namespace mono
