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
#pragma once

#include "kernels/base/error.h"
#include "train/data/dataset.h"
#include "train/data/image_source.h"
#include "train/data/image_stats.h"
#include "train/data/split.h"
#include "train/recipe.h"

#include <string>
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
};

// Reads the images that the kind needs, in parallel; deterministic. Only `channels` (from 0, on
// disk) and the experiments that occur in `split` are looked at; `all` uses split.train. Empty for
// `self`. Throws Error(data) for a plate or experiment with complete sites but no complete control
// (control-*), and for a channel that is constant in a group.
NormalisationStats normalisation_statistics(const Dataset& dataset, const ImageSource& images,
                                            const std::vector<int>& channels, const Split& split,
                                            Normalisation kind, StdBy std_by);

}  // namespace mono
