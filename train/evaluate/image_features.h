// Features of images as a run's network is evaluated with them, whatever its form of batch.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "models/model.h"
#include "nn/functional/nearest.h"
#include "train/evaluate/statistics_mode.h"
#include "train/setup.h"

namespace mono {

// Rows in the order of `sites`. Of views: view_features(). Of groups: the classifier's input,
// without augmentation; with StatisticsMode::experiment the statistics of an experiment are those
// of its images among `sites` (AdaBN). `answers`: where not null, receives the classifier's
// (argmax, the first of equals). Nothing where `abandon`, asked before every batch, says so; `task`
// names the work in the progress line. Errors: those of view_features() and forward_images().
std::optional<Features> image_features(const RunSetup& setup, const Model& model,
                                       std::span<const int> sites, StatisticsMode mode,
                                       const char* task, std::vector<int>* answers = nullptr,
                                       const std::function<bool()>& abandon = {});

}  // namespace mono
