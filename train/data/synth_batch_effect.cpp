#include "train/data/synth_batch_effect.h"

#include <algorithm>
#include <cmath>

namespace mono::synth {
namespace {

// Per-image mean, and standard deviation / mean, over the experiments of each cell type in RxRx1:
// median, least, greatest. Fitted to the published per-experiment pixel statistics of all 51.
constexpr std::array<std::array<RealStatistics, kChannels>, kAllCellTypes> kReal = {{
    {{{4.29f, 2.88f, 7.01f, 1.52f, 0.68f, 1.79f},
      {15.82f, 6.70f, 20.80f, 0.83f, 0.74f, 1.00f},
      {6.84f, 5.03f, 10.23f, 0.53f, 0.44f, 0.60f},
      {8.22f, 4.12f, 12.13f, 0.81f, 0.71f, 0.92f},
      {2.56f, 1.16f, 4.92f, 1.06f, 0.92f, 1.28f},
      {5.59f, 3.95f, 12.14f, 0.51f, 0.41f, 0.66f}}},  // HUVEC
    {{{2.63f, 2.14f, 3.62f, 1.35f, 1.15f, 1.40f},
      {13.49f, 8.25f, 14.88f, 0.91f, 0.82f, 1.05f},
      {11.42f, 10.34f, 16.65f, 0.62f, 0.54f, 0.72f},
      {6.92f, 6.24f, 8.98f, 0.86f, 0.73f, 0.96f},
      {4.42f, 1.24f, 5.65f, 0.98f, 0.88f, 1.10f},
      {7.59f, 6.33f, 13.50f, 0.58f, 0.48f, 0.64f}}},  // RPE
    {{{5.53f, 2.36f, 37.95f, 1.37f, 0.88f, 1.74f},
      {15.64f, 7.79f, 27.13f, 0.81f, 0.52f, 1.08f},
      {9.90f, 4.94f, 34.72f, 0.59f, 0.50f, 0.78f},
      {9.32f, 3.58f, 46.01f, 0.77f, 0.50f, 0.99f},
      {4.40f, 2.44f, 43.97f, 0.79f, 0.60f, 1.17f},
      {8.35f, 3.58f, 31.14f, 0.57f, 0.49f, 0.78f}}},  // HEPG2
    {{{9.09f, 4.56f, 11.16f, 1.33f, 1.02f, 1.45f},
      {12.52f, 10.09f, 55.51f, 0.77f, 0.55f, 0.81f},
      {11.60f, 7.81f, 21.70f, 0.51f, 0.35f, 0.56f},
      {9.15f, 6.35f, 29.25f, 0.71f, 0.51f, 0.76f},
      {3.29f, 3.01f, 28.90f, 1.08f, 0.53f, 1.27f},
      {13.74f, 6.41f, 25.74f, 0.53f, 0.44f, 0.62f}}},  // U2OS
    // CPG0004's published images (means over its 136 plates; ranges from five plates), in the order
    // of the stains above: DNA, ER, AGP, RNA, mitochondria; Golgi is part of AGP.
    {{{14.6f, 11.0f, 20.0f, 1.97f, 1.60f, 2.40f},
      {28.9f, 21.0f, 38.0f, 1.09f, 0.90f, 1.45f},
      {36.4f, 27.0f, 47.0f, 0.89f, 0.75f, 1.20f},
      {32.6f, 24.0f, 42.0f, 0.98f, 0.80f, 1.30f},
      {22.3f, 16.0f, 28.0f, 1.16f, 1.00f, 1.70f},
      {20.0f, 15.0f, 27.0f, 1.00f, 0.80f, 1.20f}}},  // A549
}};

// The reference: what every experiment has at batch_effect 0. Lengths in pixels of the real image.
constexpr float kReferenceBlur = 1.0f, kReferenceVignette = 0.08f;
constexpr float kReferenceShot = 0.12f, kReferenceRead = 0.35f;

// Deviations of experiments from it at batch_effect 1: standard deviations, or means where noted.
// Bleed-through: correlations between channels of untreated wells differ by up to 0.6 between real
// experiments (actin with mitochondria 0.35 to 0.98, nuclei with Golgi 0.27 to 0.82).
constexpr double kBleed = 0.30;       // of one channel's mean into another, half-normal
constexpr double kBleedChance = 0.5;  // of a pair of channels
constexpr double kGamma = 0.25;       // log
constexpr double kBlurChannel = 1.2;  // half-normal, added
constexpr double kBlurCommon = 0.8;
constexpr double kHaze = 0.25;      // half-normal, of the channel's mean
constexpr double kVignette = 0.10;  // half-normal, added
constexpr double kTilt = 0.08;
constexpr double kShot = 0.4, kRead = 0.3;  // log
constexpr double kDensitySpread = 0.18;     // log; cell counts per experiment
constexpr double kMorphologySpread = 0.06;  // log; shapes, by passage
constexpr double kTextureSpread = 0.12;     // log; textures and amounts, by lot
// Plates of an experiment: the spread of untreated wells between plates, less that within them.
constexpr double kPlateGain = 0.10, kPlateOffset = 0.10;  // log
constexpr double kPlateShare = 0.25;  // of the experiments' spread, for everything else
// Wells and fields of a plate.
constexpr double kWellGain = 0.10, kWellFocus = 0.25;
constexpr double kWellDensity = 0.06;

constexpr double kHazeSpacing = 45.0;  // of its lattice, pixels of the real image
constexpr double kMostNormal = 2.0;    // draws are limited to two standard deviations

double limited_normal(Philox& random) {
  while (true) {
    const double z = random.normal();
    if (std::abs(z) <= kMostNormal) return z;
  }
}

// z in [-2, 2] -> [least, greatest], 0 -> median, geometrically; `effect` scales the deviation.
float between(double median, double least, double greatest, double z, double effect) {
  const double extreme = z < 0.0 ? least / median : greatest / median;
  return static_cast<float>(median * std::pow(extreme, effect * std::abs(z) / kMostNormal));
}

float log_scaled(float value, double sigma, Philox& random) {
  return static_cast<float>(value * std::exp(sigma * limited_normal(random)));
}

// Moves traits as passages and lots do; `scale` 1 for experiments.
void vary_traits(Traits& traits, double scale, Philox& random) {
  for (int t = 0; t < kGain1; ++t) {
    const bool shape = t == kNuclearSize || t == kNuclearElongation || t == kCellElongation;
    const double spread = t == kDensity ? kDensitySpread
                          : shape       ? kMorphologySpread
                                        : kTextureSpread;
    traits[static_cast<size_t>(t)] += scale * spread * limited_normal(random);
  }
}

void vary_optics(Optics& optics, double scale, Philox& random) {
  for (size_t c = 0; c < kChannels; ++c)
    for (size_t k = 0; k < kChannels; ++k) {
      const bool bleeds = random.uniform() < kBleedChance;
      const double amount = kBleed * std::abs(limited_normal(random));
      if (c != k && bleeds) optics.mix[c][k] += static_cast<float>(scale * amount);
    }
  const double common = kBlurCommon * std::abs(limited_normal(random));
  for (size_t c = 0; c < kChannels; ++c) {
    const double blur = common + kBlurChannel * std::abs(limited_normal(random));
    optics.blur[c] += static_cast<float>(scale * blur);
    optics.haze[c] += static_cast<float>(scale * kHaze * std::abs(limited_normal(random)));
    optics.vignette[c] += static_cast<float>(scale * kVignette * std::abs(limited_normal(random)));
    optics.tilt_x[c] += static_cast<float>(scale * kTilt * limited_normal(random));
    optics.tilt_y[c] += static_cast<float>(scale * kTilt * limited_normal(random));
    optics.gamma[c] = log_scaled(optics.gamma[c], scale * kGamma, random);
  }
}

// A Gaussian of standard deviation `sigma` pixels, along rows and then columns; borders repeat.
void gaussian_blur(std::vector<float>& plane, int size, double sigma, std::vector<float>& scratch) {
  if (sigma < 0.2) return;
  const int radius = static_cast<int>(std::ceil(3.0 * sigma));
  std::vector<float> weights(static_cast<size_t>(radius) + 1);
  double sum = 0.0;
  for (int i = 0; i <= radius; ++i) {
    const double w = std::exp(-0.5 * i * i / (sigma * sigma));
    weights[static_cast<size_t>(i)] = static_cast<float>(w);
    sum += i == 0 ? w : 2.0 * w;
  }
  for (float& w : weights) w = static_cast<float>(w / sum);
  scratch.resize(plane.size());
  const auto pass = [&](const float* from, float* to, int stride, int across) {
    for (int line = 0; line < size; ++line)
      for (int i = 0; i < size; ++i) {
        const float* base = from + static_cast<ptrdiff_t>(line) * across;
        float value = weights[0] * base[static_cast<ptrdiff_t>(i) * stride];
        for (int r = 1; r <= radius; ++r)
          value += weights[static_cast<size_t>(r)] *
                   (base[static_cast<ptrdiff_t>(std::max(0, i - r)) * stride] +
                    base[static_cast<ptrdiff_t>(std::min(size - 1, i + r)) * stride]);
        to[static_cast<ptrdiff_t>(line) * across + static_cast<ptrdiff_t>(i) * stride] = value;
      }
  };
  pass(plane.data(), scratch.data(), 1, size);
  pass(scratch.data(), plane.data(), size, 1);
}

// Everything before exposure.
Field through_optics(const Field& field, const Optics& optics, uint64_t seed, int64_t site) {
  const int size = field.size;
  const double pixel = pixel_side(size);
  Field out;
  out.size = size;
  std::vector<float> haze, scratch;
  for (size_t c = 0; c < kChannels; ++c) {
    std::vector<float>& plane = out.planes[c];
    plane.assign(field.planes[c].size(), 0.0f);
    for (size_t k = 0; k < kChannels; ++k) {
      const float amount = optics.mix[c][k];
      if (amount == 0.0f) continue;
      for (size_t i = 0; i < plane.size(); ++i) plane[i] += amount * field.planes[k][i];
    }
    fill_noise(haze, size, kHazeSpacing / pixel,
               stream(seed, Draw::texture, site, 16 + static_cast<int>(c)));
    for (int row = 0; row < size; ++row)
      for (int column = 0; column < size; ++column) {
        const size_t at =
            static_cast<size_t>(row) * static_cast<size_t>(size) + static_cast<size_t>(column);
        const float x =
            2.0f * (static_cast<float>(column) + 0.5f) / static_cast<float>(size) - 1.0f;
        const float y = 2.0f * (static_cast<float>(row) + 0.5f) / static_cast<float>(size) - 1.0f;
        const float light = 1.0f - optics.vignette[c] * (x * x + y * y) + optics.tilt_x[c] * x +
                            optics.tilt_y[c] * y;
        plane[at] = (plane[at] + optics.haze[c] * std::max(0.0f, 1.0f + 0.7f * haze[at])) *
                    std::max(0.1f, light);
      }
    gaussian_blur(plane, size, static_cast<double>(optics.blur[c]) / pixel, scratch);
    if (optics.gamma[c] != 1.0f)
      for (float& value : plane) value = std::pow(value, optics.gamma[c]);
  }
  return out;
}

}  // namespace

RealStatistics real_statistics(CellType type, int channel) {
  return kReal[static_cast<size_t>(type)][static_cast<size_t>(channel)];
}

Batch draw_experiment(CellType type, int experiment, double batch_effect, uint64_t seed) {
  Philox random = stream(seed, Draw::experiment, experiment);
  Batch batch;
  for (size_t c = 0; c < kChannels; ++c) {
    batch.optics.mix[c].fill(0.0f);
    batch.optics.mix[c][c] = 1.0f;
  }
  batch.optics.haze.fill(0.0f);
  batch.optics.vignette.fill(kReferenceVignette);
  batch.optics.tilt_x.fill(0.0f);
  batch.optics.tilt_y.fill(0.0f);
  batch.optics.blur.fill(kReferenceBlur);
  batch.optics.gamma.fill(1.0f);

  // Means of the channels go together: between experiments of one cell type they correlate by 0.6.
  const double common = limited_normal(random);
  for (size_t c = 0; c < kChannels; ++c) {
    const RealStatistics& real = kReal[static_cast<size_t>(type)][c];
    const double z = std::clamp(std::sqrt(0.6) * common + std::sqrt(0.4) * limited_normal(random),
                                -kMostNormal, kMostNormal);
    const float mean =
        between(real.median_mean, real.least_mean, real.greatest_mean, z, batch_effect);
    const float cv = between(real.median_cv, real.least_cv, real.greatest_cv,
                             limited_normal(random), batch_effect);
    batch.target_mean[c] = mean;
    batch.target_std[c] = mean * cv;
    batch.exposure.shot[c] = log_scaled(kReferenceShot, batch_effect * kShot, random);
  }
  batch.exposure.read = log_scaled(kReferenceRead, batch_effect * kRead, random);
  vary_optics(batch.optics, batch_effect, random);
  vary_traits(batch.traits, batch_effect, random);
  return batch;
}

void set_exposure(Batch& batch, CellType type, int image_size, uint64_t seed, int64_t first_site) {
  PerChannel mean{}, std_dev{};  // means over the fields of the per-image statistics
  for (int i = 0; i < kExposureFields; ++i) {
    const Field field =
        through_optics(render_cells(type, batch.traits, image_size, seed, first_site + i),
                       batch.optics, seed, first_site + i);
    for (size_t c = 0; c < kChannels; ++c) {
      double sum = 0.0, squares = 0.0;
      for (const float value : field.planes[c]) sum += value;
      const double m = sum / static_cast<double>(field.planes[c].size());
      for (const float value : field.planes[c]) squares += (value - m) * (value - m);
      mean[c] += static_cast<float>(m / kExposureFields);
      std_dev[c] += static_cast<float>(
          std::sqrt(squares / static_cast<double>(field.planes[c].size())) / kExposureFields);
    }
  }
  for (size_t c = 0; c < kChannels; ++c) {
    // Noise and rounding to whole counts add to the spread of the signal.
    const double noise = batch.exposure.read * batch.exposure.read + 1.0 / 12.0 +
                         batch.exposure.shot[c] * batch.target_mean[c];
    const double spread =
        std::sqrt(std::max(0.25 * batch.target_std[c] * batch.target_std[c],
                           static_cast<double>(batch.target_std[c]) * batch.target_std[c] - noise));
    const double gain = spread / std::max(1e-6f, std_dev[c]);
    batch.exposure.gain[c] = static_cast<float>(gain);
    batch.exposure.offset[c] = static_cast<float>(batch.target_mean[c] - gain * mean[c]);
  }
}

Batch vary_plate(const Batch& experiment, double batch_effect, Philox random) {
  Batch plate = experiment;
  for (size_t c = 0; c < kChannels; ++c) {
    plate.exposure.gain[c] = log_scaled(plate.exposure.gain[c], batch_effect * kPlateGain, random);
    plate.exposure.offset[c] =
        log_scaled(plate.exposure.offset[c], batch_effect * kPlateOffset, random);
  }
  vary_optics(plate.optics, batch_effect * kPlateShare, random);
  vary_traits(plate.traits, batch_effect * kPlateShare, random);
  return plate;
}

Batch vary_well(const Batch& plate, Philox random) {
  Batch well = plate;
  for (size_t c = 0; c < kChannels; ++c)
    well.exposure.gain[c] = log_scaled(well.exposure.gain[c], kWellGain, random);
  const float focus = static_cast<float>(kWellFocus * std::abs(limited_normal(random)));
  for (float& blur : well.optics.blur) blur += focus;
  well.traits[kDensity] += kWellDensity * limited_normal(random);
  return well;
}

Image take_image(const Field& field, const Batch& batch, uint64_t seed, int64_t site) {
  const Field light = through_optics(field, batch.optics, seed, site);
  Image image;
  for (size_t c = 0; c < kChannels; ++c) {
    Philox random = stream(seed, Draw::sensor, site, static_cast<int>(c));
    const Exposure& exposure = batch.exposure;
    const float read = exposure.read * exposure.read;
    image[c].resize(light.planes[c].size());
    for (size_t i = 0; i < image[c].size(); ++i) {
      // A negative offset is a background that the camera's software has subtracted.
      const float counts =
          std::max(0.0f, exposure.gain[c] * light.planes[c][i] + exposure.offset[c]);
      const float noise =
          std::sqrt(read + exposure.shot[c] * counts) * static_cast<float>(random.normal());
      image[c][i] = static_cast<uint8_t>(std::clamp(counts + noise + 0.5f, 0.0f, 255.0f));
    }
  }
  return image;
}

}  // namespace mono::synth
