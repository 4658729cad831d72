#include "nn/functional/augmentation.h"

#include "kernels/elementwise/elementwise.h"
#include "runtime/copy.h"

namespace mono {

AugmentValues::AugmentValues(const Tensor& planes, std::span<const AugmentImage> images, int crop) {
  const Shape& s = planes.shape();
  if (s.rank() != 4 || planes.dtype() != DType::u8 || !planes.packed() ||
      static_cast<size_t>(s[0]) != images.size() || crop < 1 || crop > s[2] || crop > s[3])
    fail(ErrorKind::internal,
         "augmentation: planes {} for {} images and a crop of {}; expected packed u8 (N,C,H,W)",
         planes.to_string(), images.size(), crop);
  problem_ = {.N = s[0], .C = s[1], .H = s[2], .W = s[3], .P = crop};
  augment_check(problem_, images.data());
  images_ = on_device<AugmentImage>(images, planes.device());
}

const AugmentImage* AugmentValues::images() const {
  return values_of<AugmentImage>(images_);
}

PlaneScale plane_scale(std::span<const float> mean, std::span<const float> inv_std, Device device) {
  const auto table = [&](std::span<const float> values) {
    const Tensor t = Tensor::empty({static_cast<int>(values.size())}, DType::f32, device);
    upload(t.stream(), t.raw(), values.data(), values.size_bytes());
    return t;
  };
  return {table(mean), table(inv_std)};
}

Tensor empty_images(int N, int H, int W, int C, DType dtype, Device device) {
  const int pitch = device == Device::cpu ? C : (C + 7) / 8 * 8;
  const Tensor images = Tensor::empty({N, H, W, pitch}, dtype, device);
  return pitch == C ? images : images.channels(0, C);
}

Tensor images_on(const Tensor& images, DType dtype, Device device) {
  const Shape& s = images.shape();
  MONO_CHECK(s.rank() == 4 && images.packed() && images.device() == Device::cpu, "images_on of {}",
             images.to_string());
  const int pitch = empty_images(0, 1, 1, s[3], dtype, device).ld();
  const Tensor all = Tensor::zeros({s[0], s[1], s[2], pitch}, dtype, device);
  const Tensor from = images.to(device);
  dispatch_activation(dtype, [&]<class To>() {
    dispatch_activation(images.dtype(), [&]<class From>() {
      copy_channels<To, From>(all.stream(), s.rows(), s[3], from.data<From>(), s[3], all.data<To>(),
                              pitch, GradMode::overwrite);
    });
  });
  return pitch == s[3] ? all : all.channels(0, s[3]);
}

Tensor augmented_images(const Tensor& planes, const AugmentValues& values, const PlaneScale& scale,
                        DType dtype) {
  AugmentProblem problem = values.problem();
  const int64_t entries = int64_t{problem.N} * problem.C;
  MONO_CHECK(scale.mean.elements() == entries && scale.inv_std.elements() == entries,
             "augmentation: {} means and {} deviations for {} planes", scale.mean.elements(),
             scale.inv_std.elements(), entries);
  const Tensor out =
      empty_images(problem.N, problem.P, problem.P, problem.C, dtype, planes.device());
  problem.ldy = out.ld();
  dispatch_activation(dtype, [&]<class T>() {
    augment<T>(planes.stream(), problem, planes.data<uint8_t>(), values.images(),
               scale.mean.data<float>(), scale.inv_std.data<float>(), out.data<T>());
  });
  return out;
}

PlaneScale self_standardisation(const Tensor& planes, const AugmentValues& values) {
  const AugmentProblem& problem = values.problem();
  const int entries = problem.N * problem.C;
  const Device device = planes.device();
  const Tensor mean = Tensor::empty({entries}, DType::f64, device);
  const Tensor std = Tensor::empty({entries}, DType::f64, device);
  crop_statistics(planes.stream(), problem, planes.data<uint8_t>(), values.images(),
                  mean.data<double>(), std.data<double>());
  const PlaneScale scale{Tensor::empty({entries}, DType::f32, device),
                         Tensor::empty({entries}, DType::f32, device)};
  standardisation_tables(planes.stream(), entries, mean.data<double>(), std.data<double>(),
                         scale.mean.data<float>(), scale.inv_std.data<float>());
  return scale;
}

}  // namespace mono
