// Brings planes to the device on a stream of its own, while the device computes on the planes
// before them.
//
//   copy stream      [planes 1]        [planes 2]           [planes 3]
//   compute stream              [ network on 1 ]  [ network on 2 ] ...
//
// Two buffers take turns: planes k + 2 overwrite planes k once the work on planes k is done.
#pragma once

#include <array>
#include <optional>

#include "runtime/tensor.h"

namespace mono {

class PlanesUpload {
 public:
  explicit PlanesUpload(Device device);
  ~PlanesUpload();
  PlanesUpload(const PlanesUpload&) = delete;
  PlanesUpload& operator=(const PlanesUpload&) = delete;

  // The planes on the device: on the CPU these, else a copy that is being made from page-locked
  // memory (Tensor::empty_pinned). Work on the copy must have been enqueued, on the compute stream,
  // before the next call.
  Tensor operator()(const Tensor& planes);

 private:
  struct Buffer {
    Tensor device, host;  // host: what is being copied
    Event copied, used;
    bool was_used = false;
  };
  Device device_;
  std::optional<OwnedStream> copies_;  // of the GPU
  std::optional<std::array<Buffer, 2>> buffers_;
  int turn_ = 0;
};

}  // namespace mono
