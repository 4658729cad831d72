#include "train/data/planes_upload.h"

#include "kernels/base/gpu.h"

namespace mono {

PlanesUpload::PlanesUpload(Device device) : device_(device) {
  if (device == Device::cpu) return;
  copies_.emplace();
  buffers_.emplace();
}

PlanesUpload::~PlanesUpload() {
  if (!buffers_) return;
  try {
    synchronize(*copies_);  // the host's planes may go, and nothing writes to the buffers
  } catch (const Error&) {  // whoever waits for the compute stream hears of it
  }
}

Tensor PlanesUpload::operator()(const Tensor& planes) {
  if (!buffers_) return planes;
  const Stream compute = compute_stream(device_);
  Buffer& before = (*buffers_)[static_cast<size_t>(turn_ ^ 1)];
  if (before.host.defined()) {
    before.used.record(compute);
    before.was_used = true;
  }
  Buffer& buffer = (*buffers_)[static_cast<size_t>(turn_)];
  turn_ ^= 1;
  if (buffer.host.defined()) buffer.copied.synchronize();  // the host's planes may go
  const int bytes = static_cast<int>(planes.bytes());
  if (!buffer.device.defined() || buffer.device.bytes() < bytes) {
    buffer.device = Tensor();
    buffer.device = Tensor::empty({bytes}, DType::u8, device_);
    order(compute, *copies_);  // whose memory this was is done with it
  } else if (buffer.was_used) {
    buffer.used.block(*copies_);
  }
  buffer.host = planes;
  gpu::copy(buffer.device.raw(), planes.raw(), static_cast<size_t>(bytes), *copies_);
  buffer.copied.record(*copies_);
  buffer.copied.block(compute);
  return buffer.device.range(0, planes.shape());
}

}  // namespace mono
