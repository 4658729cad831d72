// From uint8 planes to a network's input, as functions of Tensors: crop, flips and rotations,
// normalisation, CutMix and MixUp (kernels/augment/augment.h has the formula). Inputs want no
// gradient, so nothing is recorded.
#pragma once

#include <span>
#include <vector>

#include "kernels/augment/augment.h"
#include "runtime/tensor.h"

namespace mono {

// What each plane (n, c) of a batch is normalised with, in units of pixels / 255; both (N, C) f32
// on the planes' device.
struct PlaneScale {
  Tensor mean, inv_std;
};
PlaneScale plane_scale(std::span<const float> mean, std::span<const float> inv_std, Device device);

// How each image is augmented: checked, and where the planes are.
class AugmentValues {
 public:
  // planes (N,C,H,W) u8, packed; one AugmentImage an image.
  AugmentValues(const Tensor& planes, std::span<const AugmentImage> images, int crop);
  const AugmentProblem& problem() const { return problem_; }
  const AugmentImage* images() const;

 private:
  AugmentProblem problem_;
  Tensor images_;
};

// A network's input (N,H,W,C), not initialised. On the GPU its pixels are a multiple of 8 channels
// apart, so that kernels load 16 bytes at once; whoever fills it clears the channels between.
Tensor empty_images(int N, int H, int W, int C, DType dtype, Device device);

// Packed images (N,H,W,C) of the host as a network's input on a device.
Tensor images_on(const Tensor& images, DType dtype, Device device);

// The planes as a network's input, (N,crop,crop,C) of `dtype`, on their device.
Tensor augmented_images(const Tensor& planes, const AugmentValues& values, const PlaneScale& scale,
                        DType dtype);

// Self-standardisation (RxRx1, Table 5): every plane by the mean and the unbiased standard
// deviation of its own crop, 1 / (std + 1e-8).
PlaneScale self_standardisation(const Tensor& planes, const AugmentValues& values);

}  // namespace mono
