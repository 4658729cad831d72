// What a forward pass is told besides its input.
#pragma once

#include "kernels/base/segments.h"
#include "nn/domain/norm_statistics.h"
#include "runtime/tape.h"

namespace mono {

struct ForwardContext {
  Tape* tape = nullptr;  // null: inference, nothing is saved
  // Runs of images with statistics of their own. The offsets must outlive the backward pass.
  Segments segments;
  NormPolicy norm;
};

}  // namespace mono
