// Operands of an operation on the host or on the GPU, so that both run through one piece of code.
#pragma once

#include <memory>
#include <vector>

#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono::test {

class Place {
 public:
  explicit Place(bool gpu) {
    if (gpu) gpu_ = std::make_unique<GpuStream>();
  }
  Stream stream() const { return gpu_ ? Stream(*gpu_) : Stream{}; }

  // An array with these values, or room for n (NaN on the GPU); guarded; lives as long as this.
  template <class T>
  T* put(const std::vector<T>& values) {
    if (gpu_) return keep(std::make_shared<GpuArray<T>>(*gpu_, values));
    const auto array = std::make_shared<Guarded<T>>(static_cast<int64_t>(values.size()));
    std::copy(values.begin(), values.end(), array->data());
    return keep(array);
  }
  template <class T>
  T* room(int64_t n) {
    if (gpu_) return keep(std::make_shared<GpuArray<T>>(*gpu_, n));
    return keep(std::make_shared<Guarded<T>>(n, std::nan("")));
  }
  std::span<std::byte> scratch(size_t bytes) {
    if (gpu_)
      return {keep(std::make_shared<GpuArray<std::byte>>(*gpu_, static_cast<int64_t>(bytes))),
              bytes};
    const auto scratch = std::make_shared<Scratch>(bytes);
    arrays_.push_back(scratch);
    return scratch->span();
  }
  template <class T>
  std::vector<T> get(const T* from, int64_t n) const {
    if (!gpu_) return {from, from + n};
    std::vector<T> values(static_cast<size_t>(n));
    gpu::copy(values.data(), from, values.size() * sizeof(T), *gpu_);
    gpu_->synchronize();
    return values;
  }

 private:
  template <class Array>
  decltype(std::declval<Array&>().data()) keep(const std::shared_ptr<Array>& array) {
    arrays_.push_back(array);
    return array->data();
  }
  std::unique_ptr<GpuStream> gpu_;  // outlives the arrays
  std::vector<std::shared_ptr<void>> arrays_;
};

}  // namespace mono::test
