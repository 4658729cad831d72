// Batch effects of a synthetic screen: what experiment, plate and well do to the cells' image.
//
//   s'_c  = sum_k mix[c][k] s_k                 bleed-through between stains and filters
//   s''_c = (s'_c + haze_c) illumination_c      stray light, vignetting, tilt
//   t_c   = blur_c(s''_c) ^ gamma_c             focus and optics; contrast of stain and camera
//   y_c   = gain_c t_c + offset_c + noise_c     exposure; shot and read noise; 8 bits
//
// Gain and offset of an experiment are set as at the microscope, from untreated wells, so that mean
// and standard deviation are those drawn from the ranges of the real screen. Self-standardisation
// of an image undoes them; it undoes none of the others. The cells answer too: density and, a
// little, their morphology differ between experiments, as passages and lots do.
//
// The ranges are constants in synth_batch_effect.cpp, fitted to published per-experiment and
// per-well statistics of RxRx1; batch_effect multiplies every deviation from the reference, so
// that 0 leaves all experiments of a cell type alike.
#pragma once

#include <array>
#include <cstdint>

#include "train/data/synth_cells.h"

namespace mono::synth {

using PerChannel = std::array<float, kChannels>;

struct Optics {
  std::array<PerChannel, kChannels> mix;  // identity plus bleed-through
  PerChannel haze, vignette, tilt_x, tilt_y, blur, gamma;
};

struct Exposure {
  PerChannel gain, offset;  // counts per unit of signal; counts
  PerChannel shot;          // variance of the noise per count of signal
  float read;               // standard deviation of the read noise, counts
};

struct Batch {
  Traits traits{};  // added to the phenotype
  Optics optics{};
  Exposure exposure{};
  PerChannel target_mean{}, target_std{};  // counts, over untreated wells
};

// The batch of an experiment, its exposure not yet set.
Batch draw_experiment(CellType type, int experiment, double batch_effect, uint64_t seed);

// Sets gain and offset so that untreated cells have target mean and standard deviation.
// `first_site` numbers the fields rendered for it, kExposureFields of them.
inline constexpr int kExposureFields = 12;
void set_exposure(Batch& batch, CellType type, int image_size, uint64_t seed, int64_t first_site);

// What plates of an experiment differ in, and wells of a plate (not scaled: wells differ anyway).
Batch vary_plate(const Batch& experiment, double batch_effect, Philox random);
Batch vary_well(const Batch& plate, Philox random);

// The image of a field: six planes of 8-bit counts, through the batch's optics and exposure.
using Image = std::array<std::vector<uint8_t>, kChannels>;
Image take_image(const Field& field, const Batch& batch, uint64_t seed, int64_t site);

// Mean and standard deviation of published per-image statistics over the experiments of a cell
// type: the medians, in counts, of channel 0..5.
struct RealStatistics {
  float median_mean, least_mean, greatest_mean, median_cv, least_cv, greatest_cv;
};
RealStatistics real_statistics(CellType type, int channel);

}  // namespace mono::synth
