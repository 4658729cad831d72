// What the tests of operations share: guarded buffers, random fills, error measures, threads.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"

namespace mono::test {

// A buffer between two strips of guard words; intact() tells whether anything wrote outside.
// 64-byte aligned. Elements start as zero bytes.
template <class T>
class GuardedArray {
 public:
  explicit GuardedArray(int64_t count = 0)
      : bytes_(static_cast<size_t>(count) * sizeof(T)),
        lines_((bytes_ + 63) / 64 + 2 * kStrip),
        count_(count) {
    std::memset(lines_.data(), kGuard, lines_.size() * sizeof(Line));
    if (bytes_) std::memset(base(), 0, bytes_);
  }
  T* data() { return reinterpret_cast<T*>(base()); }
  const T* data() const { return const_cast<GuardedArray*>(this)->data(); }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) { return data()[i]; }
  const T& operator[](int64_t i) const { return data()[i]; }
  std::span<T> span() { return {data(), static_cast<size_t>(count_)}; }
  bool intact() const {
    const auto* begin = reinterpret_cast<const unsigned char*>(lines_.data());
    const auto* mine = reinterpret_cast<const unsigned char*>(data());
    const auto is_guard = [](unsigned char b) { return b == kGuard; };
    return std::all_of(begin, mine, is_guard) &&
           std::all_of(mine + bytes_, begin + lines_.size() * sizeof(Line), is_guard);
  }
  bool operator==(const GuardedArray& other) const {  // bit for bit
    return bytes_ == other.bytes_ &&
           (bytes_ == 0 || std::memcmp(data(), other.data(), bytes_) == 0);
  }

 private:
  struct alignas(64) Line {
    unsigned char bytes[64];
  };
  static constexpr size_t kStrip = 2;  // lines
  static constexpr unsigned char kGuard = 0xA5;
  Line* base() { return lines_.data() + kStrip; }
  size_t bytes_;
  std::vector<Line> lines_;
  int64_t count_;
};

template <class T>
double to_double(T value) {
  if constexpr (std::is_same_v<T, bf16>)
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<double>(value);
}
template <class T>
T from_double(double value) {
  if constexpr (std::is_same_v<T, bf16>)
    return bf16(static_cast<float>(value));
  else
    return static_cast<T>(value);
}

// Normal values of the given mean and deviation, rounded to bf16, so that every type holds the same
// numbers and a difference between two runs is the arithmetic's alone. Stream `sample` of Philox.
template <class T>
void fill_normal(std::span<T> out, uint32_t sample, double mean = 0, double deviation = 1) {
  Philox random(2024, Purpose::test, 0, sample);
  for (T& value : out)
    value = from_double<T>(static_cast<double>(
        static_cast<float>(bf16(static_cast<float>(mean + deviation * random.normal())))));
}
template <class T>
GuardedArray<T> normal(int64_t count, uint32_t sample, double mean = 0, double deviation = 1) {
  GuardedArray<T> out(count);
  fill_normal(out.span(), sample, mean, deviation);
  return out;
}

template <class To, class From>
GuardedArray<To> converted(const GuardedArray<From>& from) {
  GuardedArray<To> to(from.size());
  for (int64_t i = 0; i < from.size(); ++i) to[i] = from_double<To>(to_double(from[i]));
  return to;
}

// Largest error over the root mean square value; infinite where anything is not finite.
template <class A, class B>
double relative_error(const GuardedArray<A>& value, const GuardedArray<B>& truth) {
  EXPECT_EQ(value.size(), truth.size());
  double error = 0, squares = 0;
  for (int64_t i = 0; i < value.size(); ++i) {
    const double v = to_double(value[i]), t = to_double(truth[i]);
    if (!std::isfinite(v) || !std::isfinite(t)) return std::numeric_limits<double>::infinity();
    error = std::max(error, std::abs(v - t));
    squares += t * t;
  }
  if (error == 0) return 0;
  return error / std::sqrt(squares / static_cast<double>(value.size()));
}

// A few roundings of the type: errors below it are not worth a comparison.
template <class T>
constexpr double kErrorFloor = std::is_same_v<T, double>  ? 1e-14
                               : std::is_same_v<T, float> ? 1e-6
                                                          : 8e-3;

// Sets the number of compute threads while it lives.
class Threads {
 public:
  explicit Threads(int threads) : before_(num_threads()) { set_num_threads(threads); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace mono::test
