#include "runtime/stream.h"

#include "kernels/base/error.h"

namespace mono {

Stream compute_stream(Device device) {
  if (device == Device::cpu) return {};
  if (device != kGpu)
    fail(ErrorKind::device, "this build has no device '{}'; it has cpu and {}", name_of(device),
         name_of(kGpu));
  static const Stream stream = [] {
    std::string why;
    if (!gpu::properties(&why)) fail(ErrorKind::device, "no GPU can be used: {}", why);
    return gpu::create_stream();
  }();
  return stream;
}

void synchronize(Stream stream) {
  if (stream.on_gpu()) gpu::synchronize(stream);
}

OwnedStream::OwnedStream() {
  compute_stream(kGpu);  // fails where there is no GPU
  stream_ = gpu::create_stream();
}

OwnedStream::~OwnedStream() {
  try {
    gpu::synchronize(stream_);
  } catch (const Error&) {  // whoever waits for the compute stream hears of it
  }
  gpu::destroy_stream(stream_);
}

void order(Stream before, Stream after) {
  Event event;
  event.record(before);
  event.block(after);
}

}  // namespace mono
