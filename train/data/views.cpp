#include "train/data/views.h"

#include <algorithm>
#include <cmath>

#include "train/data/portable_math.h"

namespace mono {
namespace {

void check_range(const char* name, const CropRange& range) {
  if (!(range.min_scale > 0 && range.min_scale <= range.max_scale && range.max_scale <= 4) ||
      range.side < 1)
    fail(ErrorKind::usage,
         "{} crops: a scale of {}..{} of the image's area and a side of {}; the scale must be "
         "above 0, at most 4 and in order, the side at least 1",
         name, range.min_scale, range.max_scale, range.side);
}

void check_probability(const char* name, double value) {
  if (!(value >= 0 && value <= 1))
    fail(ErrorKind::usage, "views: the probability of {} is {}; it must be in 0..1", name, value);
}

struct NormalPair {
  double a, b;
};
// Two independent standard normals: Marsaglia's polar method.
NormalPair normal_pair(Philox& random) {
  while (true) {
    const double u = 2 * random.uniform() - 1, v = 2 * random.uniform() - 1;
    const double s = u * u + v * v;
    if (s >= 1 || s == 0) continue;
    const double factor = std::sqrt(-2 * portable_log(s) / s);
    return {u * factor, v * factor};
  }
}

}  // namespace

void check_view_options(const ViewOptions& o) {
  if (o.global_crops < 1 || o.global_crops > 2 || o.local_crops < 0)
    fail(ErrorKind::usage,
         "views: {} global and {} local crops; there are one or two global ones (one: supervised), "
         "and none or more local ones",
         o.global_crops, o.local_crops);
  check_range("global", o.global);
  if (o.local_crops > 0) check_range("local", o.local);
  if (!(o.min_ratio > 0 && o.min_ratio <= o.max_ratio && o.max_ratio <= 100))
    fail(ErrorKind::usage, "views: crops' width over height of {}..{} makes no sense", o.min_ratio,
         o.max_ratio);
  check_probability("a flip", o.flip);
  check_probability("a turn", o.quarter_turns);
  check_probability("a colour shift", o.colour);
  if (!(o.gain_std >= 0 && o.shift_std >= 0 && std::isfinite(o.gain_std + o.shift_std)))
    fail(ErrorKind::usage, "views: colour gain and shift have deviations {} and {}; 0 or more",
         o.gain_std, o.shift_std);
}

std::vector<int> images_of_views(const ViewOptions& options, bool cross_batch) {
  std::vector<int> images;
  for (int v = 0; v < options.global_crops; ++v) images.push_back(cross_batch && v == 1);
  for (int v = 0; v < options.local_crops; ++v)
    images.push_back(cross_batch && v >= (options.local_crops + 1) / 2);
  return images;
}

CropBox draw_crop(Philox& random, const CropRange& range, double min_ratio, double max_ratio,
                  int height, int width) {
  const double log_min = portable_log(min_ratio), log_max = portable_log(max_ratio);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double scale = range.min_scale + (range.max_scale - range.min_scale) * random.uniform();
    const double area = scale * height * width;
    const double ratio = portable_exp(log_min + (log_max - log_min) * random.uniform());
    const double w = std::nearbyint(std::sqrt(area * ratio));
    const double h = std::nearbyint(std::sqrt(area / ratio));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    CropBox box{0, 0, static_cast<int>(h), static_cast<int>(w)};
    box.y = static_cast<int>(random.below(static_cast<uint32_t>(height - box.h) + 1));
    box.x = static_cast<int>(random.below(static_cast<uint32_t>(width - box.w) + 1));
    return box;
  }
  // The whole image, as far as its own sides allow the ratio.
  const double own = static_cast<double>(width) / height;
  CropBox box{0, 0, height, width};
  if (own < min_ratio)
    box.h = std::min(height, static_cast<int>(std::nearbyint(width / min_ratio)));
  if (own > max_ratio)
    box.w = std::min(width, static_cast<int>(std::nearbyint(height * max_ratio)));
  box.y = (height - box.h) / 2;
  box.x = (width - box.w) / 2;
  return box;
}

int dihedral_of(bool vertical, bool horizontal, int quarters) {
  // A quarter counter-clockwise is a transposition, then a vertical flip; a transposition swaps the
  // flips before it.
  bool transpose = false;
  for (int k = 0; k < quarters; ++k) {
    std::swap(vertical, horizontal);
    transpose = !transpose;
    vertical = !vertical;
  }
  return (horizontal ? 1 : 0) | (vertical ? 2 : 0) | (transpose ? 4 : 0);
}

CropView draw_view(const ViewOptions& options, int view, int height, int width, uint64_t seed,
                   int64_t epoch, int anchor, std::span<float> gain, std::span<float> shift) {
  const auto stream = [&](Purpose purpose) {
    return Philox(seed, purpose, static_cast<uint32_t>(epoch), static_cast<uint32_t>(anchor),
                  static_cast<uint32_t>(view));
  };
  Philox crop = stream(Purpose::crop);
  const CropBox box = draw_crop(crop, view < options.global_crops ? options.global : options.local,
                                options.min_ratio, options.max_ratio, height, width);
  Philox flips = stream(Purpose::dihedral);
  const bool vertical = flips.uniform() < options.flip, horizontal = flips.uniform() < options.flip;
  const bool turned = flips.uniform() < options.quarter_turns;
  const int quarters = turned ? static_cast<int>(flips.below(4)) : 0;

  Philox colour = stream(Purpose::colour);
  const bool shifted = colour.uniform() < options.colour;
  for (size_t c = 0; c < gain.size(); ++c) {
    gain[c] = 1;
    shift[c] = 0;
    if (!shifted) continue;
    const NormalPair normal = normal_pair(colour);
    gain[c] = static_cast<float>(1 + options.gain_std * normal.a);
    shift[c] = static_cast<float>(options.shift_std * normal.b);
  }
  return {.y = box.y,
          .x = box.x,
          .h = box.h,
          .w = box.w,
          .dihedral = dihedral_of(vertical, horizontal, quarters)};
}

CropView centre_view(int image, int height, int width, int side) {
  if (side > height || side > width)
    fail(ErrorKind::usage,
         "a centre crop of {} does not fit images of {} x {}; lower the crop, or resize to more",
         side, height, width);
  return {.image = image, .y = (height - side) / 2, .x = (width - side) / 2, .h = side, .w = side};
}

}  // namespace mono
