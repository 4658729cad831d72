// Extents of a tensor: rank up to 4, stored inline. Images are (N,H,W,C), matrices (rows, columns).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/base/error.h"

namespace mono {

class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<int> extents) {
    if (extents.size() > kMaxRank)
      fail(ErrorKind::internal, "a shape has at most {} extents, not {}", kMaxRank, extents.size());
    for (int extent : extents) append(extent);
  }

  void append(int extent) {
    MONO_CHECK(rank_ < kMaxRank, "rank {}", rank_);
    if (extent < 0) fail(ErrorKind::internal, "an extent cannot be negative: {}", extent);
    extents_[rank_++] = extent;
  }

  int rank() const { return rank_; }
  int operator[](int i) const { return extents_[i]; }
  int back() const { return rank_ == 0 ? 1 : extents_[rank_ - 1]; }

  // Product of all extents; 1 for rank 0.
  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= extents_[i];
    return n;
  }
  // Product of all extents but the innermost: pixels of an image batch, rows of a matrix.
  int64_t rows() const {
    int64_t n = 1;
    for (int i = 0; i + 1 < rank_; ++i) n *= extents_[i];
    return n;
  }

  bool operator==(const Shape&) const = default;

  std::string to_string() const {  // "(8, 32, 32, 96)"
    std::string text = "(";
    for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string(extents_[i]);
    return text + ")";
  }

 private:
  std::array<int, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace mono
