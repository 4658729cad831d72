// The six normalisations of the paper's Table 5: x' = (x - mean) / (std + 1e-8), x = pixel / 255.
//
//   self                every image by its own mean and std (computed with its crop, not here)
//   all                 of all training images
//   control-experiment  of the control images (EMPTY and positive controls) of the experiment
//   all-experiment      of all images of the experiment
//   control-plate, all-plate    likewise of the plate
// Statistics need no labels, so those of a test experiment are its own. "Calculate per-channel
// means and standard deviations on different subsets" (section 4.4) reads as the std over the
// pooled pixels: StdBy::pooled. Recursion's own code averages the images' stds: mean_of_stds.
//
// CDCL normalises by plate as well, x' = (x - mean) / std, by means over images of the images' own
// means and stds: plate_normalisation().
#pragma once

#include "kernels/base/error.h"
#include "train/data/dataset.h"
#include "train/data/image_source.h"
#include "train/data/image_stats.h"
#include "train/data/split.h"
#include "train/recipe.h"

#include <string>
#include <string_view>
#include <vector>

namespace mono {

struct NormalisationStats {
  Normalisation kind = Normalisation::self;
  int channels = 0;
  std::vector<std::string> groups;  // names: "all", "HUVEC-01", "HUVEC-01 plate 2"
  std::vector<MeanStd> values;      // (groups, channels on disk), counts 0..255
  std::vector<int> group_of;        // [site] -> group; -1: not complete, or an experiment not used

  const MeanStd& of(int site, int channel) const {
    const int group = group_of[static_cast<size_t>(site)];
    MONO_CHECK(group >= 0, "site {} has no statistics", site);
    return values[static_cast<size_t>(group) * static_cast<size_t>(channels) +
                  static_cast<size_t>(channel)];
  }
  // What a kernel needs, in units of pixel/255: mean[i] and inv_std[i] = 1 / std of wanted[i].
  void of(int site, const std::vector<int>& wanted, float* mean, float* inv_std) const {
    for (size_t i = 0; i < wanted.size(); ++i) {
      const MeanStd& value = of(site, wanted[i]);
      mean[i] = static_cast<float>(value.mean / 255);
      inv_std[i] = static_cast<float>(255 / value.std);
    }
  }
};

// Reads the images that the kind needs, in parallel; deterministic. Only `channels` (from 0, on
// disk) and the experiments that occur in `split` are looked at; `all` uses split.train. Empty for
// `self`. Throws Error(data) for a plate or experiment with complete sites but no complete control
// (control-*), and for a channel that is constant in a group.
NormalisationStats normalisation_statistics(const Dataset& dataset, const ImageSource& images,
                                            const std::vector<int>& channels, const Split& split,
                                            Normalisation kind, StdBy std_by);

// Whose images say what a plate looks like.
enum class PlateStatistics {
  negative_controls,  // RXRX1-HUVEC: EMPTY wells of the plate
  all_images,         // CPG0004: every complete site of the plate, in `dataset` after any selection
  constants           // nobody's: the same published constants for all plates
};
const char* name_of(PlateStatistics of);
PlateStatistics parse_plate_statistics(std::string_view text);  // throws Error(usage)
// What CDCL does with such a screen.
PlateStatistics plate_statistics_of(TableForm form);

struct PlateNormalisation {
  PlateStatistics of = PlateStatistics::negative_controls;
  // Rounds each image's mean and std down to whole counts before they are averaged, as the
  // published table of RXRX1-HUVEC seems to (a std may come out as low as 1 count).
  bool floor_stats = false;
};

// Input statistics of the plates that occur in any part of `split`, for `channels` (from 0, on
// disk). They are those of `images`: of resized ones, if they are. Reads in parallel;
// deterministic. Throws Error(data) for a plate without a complete control (negative_controls) and
// for a std of 0, Error(usage) for constants of a screen that has none.
NormalisationStats plate_normalisation(const Dataset& dataset, const ImageSource& images,
                                       const std::vector<int>& channels, const Split& split,
                                       const PlateNormalisation& options);

}  // namespace mono
