// Tensor: storage + offset + shape + one pitch + dtype. A cheap handle that knows nothing of
// gradients.
//
// Innermost extent contiguous; rows (pixels) are `ld` elements apart, so that a channel slice of a
// larger NHWC buffer is an ordinary tensor. All other extents are packed over the rows.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "runtime/shape.h"

namespace mono {

// A reference-counted buffer with a version: every write through an operation bumps it, so that
// the tape can tell when something it saved was changed.
class Storage {
 public:
  Storage(size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  uint64_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_;
  uint64_t version_ = 0;
};

class Tensor {
 public:
  Tensor() = default;  // undefined
  static Tensor empty(const Shape& shape, DType dtype, Device device = Device::cpu);
  static Tensor zeros(const Shape& shape, DType dtype, Device device = Device::cpu);

  bool defined() const { return storage_ != nullptr; }
  explicit operator bool() const { return defined(); }

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device(); }
  int ld() const { return ld_; }
  int64_t elements() const { return shape_.elements(); }
  int64_t bytes() const { return elements() * static_cast<int64_t>(size_of(dtype_)); }
  bool packed() const { return ld_ == shape_.back(); }

  // Pointer to the first element; T must be the dtype's type.
  template <class T>
  T* data() const {
    MONO_CHECK(defined(), "data() of an undefined tensor");
    MONO_CHECK(kDTypeOf<T> == dtype_, "tensor is {}, asked for {}", name_of(dtype_),
               name_of(kDTypeOf<T>));
    return reinterpret_cast<T*>(raw());
  }
  std::byte* raw() const {
    return static_cast<std::byte*>(storage_->data()) +
           offset_ * static_cast<int64_t>(size_of(dtype_));
  }
  template <class T>
  std::span<T> span() const {  // packed tensors only
    MONO_CHECK(packed(), "span() of a pitched tensor {}", to_string());
    return {data<T>(), static_cast<size_t>(elements())};
  }

  // Views; they share the storage and its version.
  Tensor channels(int begin, int end) const;  // [begin, end) of the innermost extent
  Tensor images(int begin, int end) const;    // [begin, end) of the outermost extent
  Tensor reshape(const Shape& shape) const;   // packed tensors only, same number of elements
  Tensor range(int64_t begin, const Shape& shape) const;  // packed piece from element `begin` on

  uint64_t version() const { return storage_->version(); }
  void bump_version() const { storage_->bump_version(); }
  const Storage* storage() const { return storage_.get(); }

  void zero() const;
  std::string to_string() const;  // "f32 (8, 32, 32, 96) ld 384"

 private:
  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  // elements
  Shape shape_;
  int ld_ = 0;
  DType dtype_ = DType::f32;
};

// Scratch for one operation: at least `bytes`, returned to the allocator when it goes out of scope.
class Workspace {
 public:
  explicit Workspace(size_t bytes, Device device = Device::cpu);
  std::span<std::byte> span() const { return span_; }
  operator std::span<std::byte>() const { return span_; }

 private:
  std::shared_ptr<Storage> storage_;
  std::span<std::byte> span_;
};

}  // namespace mono
