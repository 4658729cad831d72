#include "train/evaluate/dense.h"

#define EIGEN_DONT_PARALLELIZE  // the threads are ours
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<const RowMajor>;

constexpr int kRowsPerUnit = 512;

View view(const Matrix& m) {
  return {m.values.data(), m.rows, m.columns};
}

}  // namespace

Matrix matrix_of(FeatureView features) {
  Matrix matrix(features.rows, features.width);
  for (int i = 0; i < features.rows; ++i) {
    std::ranges::copy(features.row(i), matrix.row(i).begin());
    if (!std::ranges::all_of(features.row(i), [](float value) { return std::isfinite(value); }))
      fail(ErrorKind::data, "features: row {} holds a value that is not finite", i);
  }
  return matrix;
}

Features features_of(const Matrix& matrix) {
  Features features(matrix.rows, matrix.columns);
  std::ranges::transform(matrix.values, features.values.begin(),
                         [](double value) { return static_cast<float>(value); });
  return features;
}

Matrix multiply(const Matrix& a, const Matrix& b) {
  MONO_CHECK(a.columns == b.rows, "multiply: ({}, {}) by ({}, {})", a.rows, a.columns, b.rows,
             b.columns);
  Matrix product(a.rows, b.columns);
  Eigen::Map<RowMajor> out(product.values.data(), product.rows, product.columns);
  parallel_for((a.rows + kRowsPerUnit - 1) / kRowsPerUnit, [&](int64_t unit, int) {
    const int begin = static_cast<int>(unit) * kRowsPerUnit;
    const int rows = std::min(kRowsPerUnit, a.rows - begin);
    out.middleRows(begin, rows).noalias() = view(a).middleRows(begin, rows) * view(b);
  });
  return product;
}

Matrix gram(const Matrix& x) {
  Matrix result(x.columns, x.columns);
  Eigen::Map<RowMajor>(result.values.data(), result.rows, result.columns).noalias() =
      view(x).transpose() * view(x);
  return result;
}

ColumnMoments column_moments(const Matrix& x, std::span<const int> rows, int correction) {
  const size_t width = static_cast<size_t>(x.columns);
  const double count = static_cast<double>(rows.size());
  ColumnMoments moments{std::vector<double>(width), std::vector<double>(width)};
  for (const int i : rows)
    for (size_t c = 0; c < width; ++c) moments.mean[c] += x.row(i)[c];
  for (double& value : moments.mean) value /= count;
  for (const int i : rows)
    for (size_t c = 0; c < width; ++c) {
      const double difference = x.row(i)[c] - moments.mean[c];
      moments.variance[c] += difference * difference;
    }
  for (double& value : moments.variance) value /= count - correction;
  return moments;
}

Matrix centred_rows(const Matrix& x, std::span<const int> rows, std::span<const double> mean) {
  Matrix out(static_cast<int>(rows.size()), x.columns);
  for (int i = 0; i < out.rows; ++i)
    for (size_t c = 0; c < mean.size(); ++c)
      out.row(i)[c] = x.row(rows[static_cast<size_t>(i)])[c] - mean[c];
  return out;
}

SymmetricEigen symmetric_eigen(const Matrix& m) {
  const Eigen::SelfAdjointEigenSolver<RowMajor> solver(view(m));
  MONO_CHECK(solver.info() == Eigen::Success,
             "the eigenvalues of a ({}, {}) matrix did not converge", m.rows, m.columns);
  SymmetricEigen result;
  result.values.assign(solver.eigenvalues().data(), solver.eigenvalues().data() + m.rows);
  result.vectors = Matrix(m.rows, m.columns);
  Eigen::Map<RowMajor>(result.vectors.values.data(), m.rows, m.columns) = solver.eigenvectors();
  return result;
}

Matrix symmetric_function(const SymmetricEigen& eigen, const std::function<double(double)>& f) {
  Matrix scaled = eigen.vectors;
  for (int i = 0; i < scaled.rows; ++i)
    for (size_t c = 0; c < eigen.values.size(); ++c) scaled.row(i)[c] *= f(eigen.values[c]);
  Matrix result(scaled.rows, scaled.rows);
  Eigen::Map<RowMajor>(result.values.data(), result.rows, result.columns).noalias() =
      view(scaled) * view(eigen.vectors).transpose();
  return result;
}

}  // namespace mono
