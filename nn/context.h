// What a forward pass is told besides its input.
#pragma once

#include <vector>

#include "kernels/base/segments.h"
#include "nn/domain/norm_statistics.h"
#include "runtime/copy.h"
#include "runtime/tape.h"

namespace mono {

class NormObserver;

// The offsets of segments, on the host for planning and on the device for kernels.
class SegmentTable {
 public:
  SegmentTable() = default;
  // offsets: 0, ascending, the last one the number of images.
  SegmentTable(std::vector<int> offsets, Device device) : offsets_(std::move(offsets)) {
    if (device != Device::cpu) on_gpu_ = on_device<int>(offsets_, device);
  }
  operator Segments() const {
    return {static_cast<int>(offsets_.size()) - 1, offsets_.data(),
            on_gpu_.defined() ? values_of<int>(on_gpu_) : nullptr};
  }

 private:
  std::vector<int> offsets_;
  Tensor on_gpu_;
};

struct ForwardContext {
  Tape* tape = nullptr;  // null: inference, nothing is saved
  // Runs of images with statistics of their own. The tables behind it (SegmentTable) must outlive
  // the backward pass.
  Segments segments;
  NormPolicy norm;
  // Drop path: (residual branches of the model, images) f32 on the device, what a branch of an
  // image is multiplied with (0: left out). Undefined: nothing is left out. Must outlive the
  // backward pass.
  Tensor drop_path = {};
  NormObserver* observer = nullptr;  // shown the input of every batch norm; null: nobody looks
};

}  // namespace mono
