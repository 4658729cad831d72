#include "runtime/tensor.h"

#include <algorithm>
#include <cstring>

#include "runtime/allocator.h"
#include "runtime/copy.h"

namespace mono {

Storage::Storage(size_t bytes, Device device, bool pinned)
    : allocator_(pinned ? CachingAllocator::pinned() : CachingAllocator::of(device)),
      data_(allocator_.allocate(bytes)),
      bytes_(bytes),
      device_(device) {}

Storage::~Storage() {
  try {
    for (const Stream& stream : users_) order(stream, compute_stream(device_));
  } catch (const Error&) {  // whoever waits for the stream hears of it
  }
  allocator_.free(data_);
}

void Storage::used_on(Stream stream) {
  if (device_ == Device::cpu || stream == compute_stream(device_)) return;
  if (std::ranges::find(users_, stream) != users_.end()) return;
  order(compute_stream(device_), stream);
  users_.push_back(stream);
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.ld_ = shape.back();
  tensor.dtype_ = dtype;
  tensor.storage_ =
      std::make_shared<Storage>(static_cast<size_t>(shape.elements()) * size_of(dtype), device);
  return tensor;
}

Tensor Tensor::empty_pinned(const Shape& shape, DType dtype) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.ld_ = shape.back();
  tensor.dtype_ = dtype;
  tensor.storage_ = std::make_shared<Storage>(
      static_cast<size_t>(shape.elements()) * size_of(dtype), Device::cpu, true);
  return tensor;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor tensor = empty(shape, dtype, device);
  tensor.zero();
  return tensor;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  const Tensor copy = empty(shape_, dtype_, device);
  copy.copy_from(*this);
  return copy;
}

void Tensor::copy_from(const Tensor& values) const {
  MONO_CHECK(values.shape() == shape_ && values.dtype() == dtype_ && packed() && values.packed(),
             "copy of {} to {}", values.to_string(), to_string());
  const size_t size = static_cast<size_t>(bytes());
  const Device from = values.device(), to = device();
  if (from == Device::cpu)
    upload(stream(), raw(), values.raw(), size);
  else if (to == Device::cpu)
    download(values.stream(), raw(), values.raw(), size);
  else
    gpu::copy(raw(), values.raw(), size, stream());
  bump_version();
}

void Tensor::zero() const {
  const size_t size = size_of(dtype_);
  if (device() != Device::cpu) {
    MONO_CHECK(packed(), "zero() of a pitched tensor {}", to_string());
    gpu::fill(raw(), 0, static_cast<size_t>(bytes()), stream());
  } else if (packed()) {
    std::memset(raw(), 0, static_cast<size_t>(bytes()));
  } else {
    for (int64_t row = 0; row < shape_.rows(); ++row)
      std::memset(raw() + row * ld_ * static_cast<int64_t>(size), 0, shape_.back() * size);
  }
  bump_version();
}

Tensor Tensor::channels(int begin, int end) const {
  MONO_CHECK(0 <= begin && begin <= end && end <= shape_.back(), "channels [{}, {}) of {}", begin,
             end, to_string());
  Tensor view = *this;
  view.shape_ = Shape();
  for (int i = 0; i + 1 < shape_.rank(); ++i) view.shape_.append(shape_[i]);
  view.shape_.append(end - begin);
  view.offset_ += begin;
  return view;
}

Tensor Tensor::images(int begin, int end) const {
  MONO_CHECK(shape_.rank() >= 1 && 0 <= begin && begin <= end && end <= shape_[0],
             "images [{}, {}) of {}", begin, end, to_string());
  MONO_CHECK(shape_.rank() >= 2 || packed(), "images() of {}", to_string());
  const int64_t rows_each = shape_[0] == 0 ? 0 : shape_.rows() / shape_[0];
  Tensor view = *this;
  view.shape_ = Shape{end - begin};
  for (int i = 1; i < shape_.rank(); ++i) view.shape_.append(shape_[i]);
  view.offset_ += shape_.rank() == 1 ? begin : begin * rows_each * ld_;
  if (shape_.rank() == 1) view.ld_ = end - begin;
  return view;
}

Tensor Tensor::reshape(const Shape& shape) const {
  MONO_CHECK(packed() && shape.elements() == elements(), "reshape {} to {}", to_string(),
             shape.to_string());
  Tensor view = *this;
  view.shape_ = shape;
  view.ld_ = shape.back();
  return view;
}

Tensor Tensor::range(int64_t begin, const Shape& shape) const {
  MONO_CHECK(packed() && begin >= 0 && begin + shape.elements() <= elements(),
             "range {} + {} of {}", begin, shape.to_string(), to_string());
  Tensor view = *this;
  view.shape_ = shape;
  view.ld_ = shape.back();
  view.offset_ += begin;
  return view;
}

std::string Tensor::to_string() const {
  if (!defined()) return "undefined tensor";
  std::string text = fmt::format("{} {}", name_of(dtype_), shape_.to_string());
  if (!packed()) text += fmt::format(" ld {}", ld_);
  if (device() != Device::cpu) text += fmt::format(" on {}", name_of(device()));
  return text;
}

Workspace::Workspace(size_t bytes, Device device)
    : storage_(std::make_shared<Storage>(bytes, device)),
      span_(static_cast<std::byte*>(storage_->data()), bytes) {}

}  // namespace mono
