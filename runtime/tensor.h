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
#include <vector>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "runtime/shape.h"
#include "runtime/stream.h"

namespace mono {

class CachingAllocator;

// A reference-counted buffer with a version: every write through an operation bumps it, so that
// the tape can tell when something it saved was changed.
class Storage {
 public:
  // pinned: memory of the host that is page-locked, for copies that overlap work of the GPU.
  Storage(size_t bytes, Device device, bool pinned = false);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  uint64_t version() const { return version_; }
  void bump_version() { ++version_; }

  // Another stream than the device's compute stream uses this memory: its work from here on comes
  // after what the compute stream has been given so far, and the memory is reused only after what
  // that stream has been given when the storage goes.
  void used_on(Stream stream);

 private:
  CachingAllocator& allocator_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_;
  std::vector<Stream> users_;
  uint64_t version_ = 0;
};

class Tensor {
 public:
  Tensor() = default;  // undefined
  static Tensor empty(const Shape& shape, DType dtype, Device device = Device::cpu);
  static Tensor zeros(const Shape& shape, DType dtype, Device device = Device::cpu);
  // In page-locked memory of the host, where this build has a GPU at all.
  static Tensor empty_pinned(const Shape& shape, DType dtype);

  bool defined() const { return storage_ != nullptr; }
  explicit operator bool() const { return defined(); }

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_->device(); }
  // The stream that work on this tensor goes to: its device's compute stream.
  Stream stream() const { return compute_stream(device()); }
  int ld() const { return ld_; }
  int64_t elements() const { return shape_.elements(); }
  int64_t bytes() const { return elements() * static_cast<int64_t>(size_of(dtype_)); }
  bool packed() const { return ld_ == shape_.back(); }

  // Pointer to the first element; T must be the dtype's type. Of a tensor on a GPU it is for
  // kernels: the host must not follow it.
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
  std::span<T> span() const {  // packed tensors of the CPU only
    MONO_CHECK(packed(), "span() of a pitched tensor {}", to_string());
    MONO_CHECK(device() == Device::cpu,
               "span() of {}, which the host cannot read; copy it with "
               "to(Device::cpu)",
               to_string());
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

  // The tensor itself where it is on `device` already, else a copy. Copying to the CPU waits for
  // the device; copying from it does not. Packed tensors only.
  Tensor to(Device device) const;
  // Overwrites this tensor with the values of one of equal shape and dtype, on any device. Packed
  // tensors only.
  void copy_from(const Tensor& values) const;
  void zero() const;
  void used_on(Stream stream) const { storage_->used_on(stream); }
  std::string to_string() const;  // "f32 (8, 32, 32, 96) ld 384 on cuda"

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
