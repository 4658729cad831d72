// What the tests of the operations other than products share, on top of kernel_test.h: vectors of
// seeded values, the rule of errors, and runs at several thread counts.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/philox.h"
#include "kernels/base/segments.h"
#include "tests/kernels/kernel_test.h"

namespace mono::test {

// A guarded array that checks its guards when it goes, filled with a value.
template <class T>
class Guarded : public GuardedArray<T> {
 public:
  explicit Guarded(int64_t size, double fill = 0.0) : GuardedArray<T>(size) {
    for (T& value : this->span()) value = from_double<T>(fill);
  }
  ~Guarded() { EXPECT_TRUE(this->intact()) << "written outside"; }
  std::vector<T> copy() const { return {this->data(), this->data() + this->size()}; }
};

// n values of type T, normal with the given mean and standard deviation.
template <class T>
std::vector<T> normal_values(int64_t n, uint32_t stream, double mean = 0, double std = 1) {
  Philox random(20260, Purpose::test, stream);
  std::vector<T> values(n);
  for (T& v : values) v = from_double<T>(mean + std * random.normal());
  return values;
}

template <class To, class From>
std::vector<To> convert_to(const std::vector<From>& from) {
  std::vector<To> to(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] = from_double<To>(to_double(from[i]));
  return to;
}

// Largest |got - want| / (|want| + the root mean square of `want`); infinity where got is NaN.
template <class T>
double error_of(const std::vector<T>& got, const std::vector<double>& want) {
  EXPECT_EQ(got.size(), want.size());
  double square = 0, worst = 0;
  for (double w : want) square += w * w;
  const double scale = std::sqrt(square / static_cast<double>(want.size())) + 1e-300;
  for (size_t i = 0; i < want.size(); ++i) {
    const double e = std::abs(to_double(got[i]) - want[i]) / (std::abs(want[i]) + scale);
    worst = std::isnan(e) ? std::numeric_limits<double>::infinity() : std::max(worst, e);
  }
  return worst;
}

// The rule of every operation: at most twice the error of the plain computation in the same dtype
// (`plain`, against the same f64 oracle), or a few roundings where luck made that one exact; in
// f64, 1e-12.
template <class T>
void expect_close(const char* what, const std::vector<T>& got, const std::vector<T>& plain,
                  const std::vector<double>& want) {
  const double error = error_of(got, want);
  const double unit = std::is_same_v<T, bf16> ? 0x1p-7 : 0x1p-21;
  const double allowed =
      std::is_same_v<T, double> ? 1e-12 : std::max(2 * error_of(plain, want), unit);
  EXPECT_LE(error, allowed) << what << " (" << name_of(kDTypeOf<T>) << ")";
}

// Two results of type T that differ in the order of sums and a rounding to T at most; the limits of
// f32 and f64 are relative to |want| + its root mean square.
template <class T>
void expect_near(const char* what, const std::vector<T>& got, const std::vector<T>& want,
                 double f32 = 0x1p-20, double f64 = 1e-12) {
  const double unit = std::is_same_v<T, bf16> ? 0x1p-7 : std::is_same_v<T, double> ? f64 : f32;
  EXPECT_LE(error_of(got, convert_to<double>(want)), unit) << what;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// f() with 1, 2 and 3 threads; it returns a vector, whose bits must not differ. Returns the first.
template <class F>
auto same_for_any_threads(F&& f) {
  const auto run = [&](int count) {
    const Threads threads(count);
    return f();
  };
  const auto first = run(1);
  for (int count : {2, 3}) EXPECT_TRUE(same_bits(first, run(count))) << count << " threads";
  return first;
}

// 64-byte aligned scratch.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : words_(bytes / sizeof(Word) + 1), bytes_(bytes) {
    std::memset(static_cast<void*>(words_.data()), 0xff, words_.size() * sizeof(Word));  // NaN
  }
  std::span<std::byte> span() { return {reinterpret_cast<std::byte*>(words_.data()), bytes_}; }

 private:
  struct alignas(64) Word {
    std::byte bytes[64];
  };
  std::vector<Word> words_;
  size_t bytes_;
};

using ActivationTypes = ::testing::Types<float, bf16, double>;

}  // namespace mono::test
