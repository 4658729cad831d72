// Many crops of a batch of images as a network's input, as a function of Tensors
// (kernels/crop_views/crop_views.h has the formula). Inputs want no gradient, so nothing is
// recorded.
#pragma once

#include <span>

#include "kernels/crop_views/crop_views.h"
#include "nn/functional/augmentation.h"

namespace mono {

// What happens to the colours of M views of C channels: pixel / 255 * gain + shift, both (M, C).
struct ColourShift {
  std::span<const float> gain, shift;
};

// planes (N,C,H,W) u8, packed; `scale` of its N*C planes. Returns (M,side,side,C) of `dtype` on the
// planes' device. The host's arrays may change as soon as the call returns.
Tensor cropped_views(const Tensor& planes, std::span<const CropView> views,
                     const ColourShift& colour, const PlaneScale& scale, int side, DType dtype);

}  // namespace mono
