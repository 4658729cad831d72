#include "train/data/batch.h"

namespace mono {
namespace {

PlaneScale scale_of(const RunSetup& setup, const RawBatch& raw, const AugmentValues& values) {
  if (setup.normalisation.values.empty()) return self_standardisation(raw.planes, values);
  std::vector<float> mean, inv_std;
  for (const int site : raw.sites)
    for (const int channel : setup.channels) {
      const MeanStd& of = setup.normalisation.of(site, channel);
      mean.push_back(static_cast<float>(of.mean / 255));
      inv_std.push_back(static_cast<float>(1 / (of.std / 255 + 1e-8)));
    }
  return plane_scale(mean, inv_std, raw.planes.device());
}

// (N, classes): own_share at the image's own label, the rest at its partner's.
template <class LabelOf>
Tensor soft_targets(const RawBatch& raw, int classes, double smoothing, LabelOf label_of) {
  const int images = static_cast<int>(raw.sites.size());
  const Tensor targets = Tensor::zeros({images, classes}, DType::f32);
  for (int n = 0; n < images; ++n) {
    const size_t i = static_cast<size_t>(n);
    float* row = targets.data<float>() + int64_t{n} * classes;
    const int own = label_of(raw.sites[i]);
    const int partner = label_of(raw.sites[static_cast<size_t>(raw.values[i].partner)]);
    if (own < 0 || partner < 0) continue;
    const float share = raw.own_share[i], keep = static_cast<float>(1 - smoothing);
    row[own] += keep * share;
    row[partner] += keep * (1 - share);
    if (smoothing > 0)
      for (int k = 0; k < classes; ++k) row[k] += static_cast<float>(smoothing / classes);
  }
  return targets;
}

}  // namespace

RawBatch read_batch(const RunSetup& setup, std::span<const int> sites) {
  const int N = static_cast<int>(sites.size()), C = static_cast<int>(setup.channels.size());
  const int H = setup.images->height(), W = setup.images->width();
  RawBatch raw;
  raw.sites.assign(sites.begin(), sites.end());
  const Shape shape{N, C, H, W};
  raw.planes = setup.device == Device::cpu ? Tensor::empty(shape, DType::u8)
                                           : Tensor::empty_pinned(shape, DType::u8);
  raw.values.resize(sites.size());
  raw.own_share.assign(sites.size(), 1.0f);
  const int64_t bytes = int64_t{C} * H * W;
  for (int n = 0; n < N; ++n) {
    AugmentImage& value = raw.values[static_cast<size_t>(n)];
    value.crop_y = (H - setup.crop) / 2;
    value.crop_x = (W - setup.crop) / 2;
    value.partner = n;
    setup.images->read(sites[static_cast<size_t>(n)], setup.channels,
                       raw.planes.data<uint8_t>() + n * bytes);
  }
  return raw;
}

Batch make_batch(const RunSetup& setup, const RawBatch& raw, double smoothing) {
  const Device device = raw.planes.device();
  const AugmentValues values(raw.planes, raw.values, setup.crop);
  Batch batch;
  batch.images =
      augmented_images(raw.planes, values, scale_of(setup, raw, values), setup.precision);
  batch.targets = soft_targets(raw, setup.classes, smoothing, [&](int site) {
                    return setup.label[static_cast<size_t>(site)];
                  }).to(device);
  batch.batch_targets = soft_targets(raw, setup.experiments, 0, [&](int site) {
                          return setup.dataset.sites[static_cast<size_t>(site)].experiment;
                        }).to(device);
  return batch;
}

}  // namespace mono
