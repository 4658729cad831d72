// From uint8 planes to a network's input, as functions of Tensors: crop, flips and rotations,
// normalisation, CutMix and MixUp (kernels/augment/augment.h has the formula). Inputs want no
// gradient, so nothing is recorded.
#pragma once

#include <span>
#include <vector>

#include "kernels/augment/augment.h"
#include "runtime/tensor.h"

namespace mono {

// What each plane (n, c) of a batch is normalised with, in units of pixels / 255; both (N, C).
struct PlaneScale {
  std::vector<float> mean, inv_std;
};

// planes (N,C,H,W) u8, packed; one AugmentImage an image. Returns (N,crop,crop,C) of `dtype`.
Tensor augmented_images(const Tensor& planes, std::span<const AugmentImage> images, int crop,
                        const PlaneScale& scale, DType dtype);

// Self-standardisation (RxRx1, Table 5): every plane by the mean and the unbiased standard
// deviation of its own crop, 1 / (std + 1e-8).
PlaneScale self_standardisation(const Tensor& planes, std::span<const AugmentImage> images,
                                int crop);

}  // namespace mono
