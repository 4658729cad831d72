// Features of images as a run's network is evaluated with them, whatever its form of batch.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "models/model.h"
#include "nn/functional/nearest.h"
#include "train/evaluate/inference.h"
#include "train/setup.h"

namespace mono {

// The classifier's input for each of `sites`: rows in their order. `answers`: where not null,
// receives the classifier's (argmax, the first of equals). Nothing where it was abandoned. Of
// several ranks, all have the result. Errors: those of forward_images(), and diverged for features
// that are not finite (named).
std::optional<Features> image_features(const RunSetup& setup, const Model& model,
                                       std::span<const int> sites, const InferenceOptions& options,
                                       std::vector<int>* answers = nullptr);

}  // namespace mono
