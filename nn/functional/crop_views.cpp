#include "nn/functional/crop_views.h"

#include "runtime/copy.h"

namespace mono {

Tensor cropped_views(const Tensor& planes, std::span<const CropView> views,
                     const ColourShift& colour, const PlaneScale& scale, int side, DType dtype) {
  const Shape& s = planes.shape();
  if (s.rank() != 4 || planes.dtype() != DType::u8 || !planes.packed())
    fail(ErrorKind::internal, "views: planes {}; expected packed u8 (N,C,H,W)", planes.to_string());
  const int M = static_cast<int>(views.size()), C = s[1];
  const size_t entries = views.size() * static_cast<size_t>(C);
  MONO_CHECK(colour.gain.size() == entries && colour.shift.size() == entries,
             "views: {} gains and {} shifts for {} views of {} channels", colour.gain.size(),
             colour.shift.size(), M, C);
  MONO_CHECK(
      scale.mean.elements() == int64_t{s[0]} * C && scale.inv_std.elements() == int64_t{s[0]} * C,
      "views: {} means and {} deviations for {} planes", scale.mean.elements(),
      scale.inv_std.elements(), int64_t{s[0]} * C);
  const Device device = planes.device();
  const Tensor out = empty_images(M, side, side, C, dtype, device);
  const CropViewsProblem problem{
      .N = s[0], .C = C, .H = s[2], .W = s[3], .M = M, .P = side, .ldy = out.ld()};
  crop_views_check(problem, views.data());
  const Tensor boxes = on_device<CropView>(views, device);
  const Tensor gain = on_device<float>(colour.gain, device);
  const Tensor shift = on_device<float>(colour.shift, device);
  const Workspace workspace(crop_views_workspace_bytes(device, problem, dtype), device);
  dispatch_activation(dtype, [&]<class T>() {
    crop_views<T>(planes.stream(), problem, planes.data<uint8_t>(), values_of<CropView>(boxes),
                  values_of<float>(gain), values_of<float>(shift), scale.mean.data<float>(),
                  scale.inv_std.data<float>(), out.data<T>(), workspace);
  });
  return out;
}

}  // namespace mono
