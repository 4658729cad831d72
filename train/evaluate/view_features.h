// Features of images as a network of views sees them in evaluation: the middle of the image, its
// plate's normalisation, nothing else (CDCL).
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "models/model.h"
#include "nn/functional/nearest.h"
#include "train/setup.h"

namespace mono {

// Rows in the order of `sites`. `logits`: where not null, receives the classifier's answers
// (argmax, the first of equals). Running statistics, where the network has batch norms. Nothing
// where `abandon`, asked before every batch, says so; `task` names the work in the progress line.
// Errors: data for an image that cannot be read, diverged for features that are not finite (both
// named).
std::optional<Features> view_features(const RunSetup& setup, const Model& model,
                                      std::span<const int> sites, const char* task,
                                      std::vector<int>* answers = nullptr,
                                      const std::function<bool()>& abandon = {});

}  // namespace mono
