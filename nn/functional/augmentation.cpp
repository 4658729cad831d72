#include "nn/functional/augmentation.h"

namespace mono {
namespace {

AugmentProblem problem_of(const Tensor& planes, size_t images, int crop) {
  const Shape& s = planes.shape();
  if (s.rank() != 4 || planes.dtype() != DType::u8 || !planes.packed() ||
      static_cast<size_t>(s[0]) != images || crop < 1 || crop > s[2] || crop > s[3])
    fail(ErrorKind::internal,
         "augmentation: planes {} for {} images and a crop of {}; expected packed u8 (N,C,H,W)",
         planes.to_string(), images, crop);
  return {.N = s[0], .C = s[1], .H = s[2], .W = s[3], .P = crop};
}

}  // namespace

Tensor augmented_images(const Tensor& planes, std::span<const AugmentImage> images, int crop,
                        const PlaneScale& scale, DType dtype) {
  const AugmentProblem problem = problem_of(planes, images.size(), crop);
  const size_t entries = images.size() * static_cast<size_t>(problem.C);
  MONO_CHECK(scale.mean.size() == entries && scale.inv_std.size() == entries,
             "augmentation: {} means and {} deviations for {} planes", scale.mean.size(),
             scale.inv_std.size(), entries);
  const Tensor out = Tensor::empty({problem.N, crop, crop, problem.C}, dtype);
  dispatch_activation(dtype, [&]<class T>() {
    augment<T>(problem, planes.data<uint8_t>(), images.data(), scale.mean.data(),
               scale.inv_std.data(), out.data<T>());
  });
  return out;
}

PlaneScale self_standardisation(const Tensor& planes, std::span<const AugmentImage> images,
                                int crop) {
  const AugmentProblem problem = problem_of(planes, images.size(), crop);
  const size_t entries = images.size() * static_cast<size_t>(problem.C);
  std::vector<double> mean(entries), std(entries);
  crop_statistics(problem, planes.data<uint8_t>(), images.data(), mean.data(), std.data());
  PlaneScale scale;
  for (size_t i = 0; i < entries; ++i) {
    scale.mean.push_back(static_cast<float>(mean[i] / 255));
    scale.inv_std.push_back(static_cast<float>(1 / (std[i] / 255 + 1e-8)));
  }
  return scale;
}

}  // namespace mono
