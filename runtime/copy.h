// Copies between the host and a device.
#pragma once

#include <cstddef>
#include <span>

#include "runtime/tensor.h"

namespace mono {

// Enqueues a copy of host memory, which may change as soon as the call returns: it passes through
// page-locked staging. On a CPU stream it is memcpy. Not inside a captured step, which would replay
// the staging's later content.
void upload(Stream stream, void* to, const void* from, size_t bytes);

// Copies to host memory and waits until it is there, with everything before it on the stream.
void download(Stream stream, void* to, const void* from, size_t bytes);

// Plain values in a device's memory, as a u8 tensor of their bytes; `values_of` gives the pointer
// that a kernel wants.
template <class T>
Tensor on_device(std::span<const T> values, Device device) {
  static_assert(std::is_trivially_copyable_v<T>);
  const Tensor bytes = Tensor::empty({static_cast<int>(values.size_bytes())}, DType::u8, device);
  upload(bytes.stream(), bytes.raw(), values.data(), values.size_bytes());
  return bytes;
}
template <class T>
const T* values_of(const Tensor& bytes) {
  return reinterpret_cast<const T*>(bytes.data<uint8_t>());
}

}  // namespace mono
