// The negative controls of a run's screen in its embedding, before and after batch correction: a
// section of the page of `data report`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "nn/functional/nearest.h"
#include "train/evaluate/trained_run.h"
#include "train/report/page.h"

namespace mono::report {

// Embedded twice: a classifier with running statistics and with the experiment's own (AdaBN), a
// network of views as it is and Z-normed.
struct ControlsEmbedding {
  std::vector<int> sites, experiment, well;  // of each row
  Features before, after;
  std::string how_before, how_after;
  std::vector<std::string> left_out;  // experiments with a single image
};

// Error(data) where there are fewer than four images of negative controls.
ControlsEmbedding embed_controls(const TrainedRun& run);

// Returns the line that says it in numbers; empty where there is none to say.
std::string add_embedding(Page& page, const std::filesystem::path& run_folder,
                          const TrainedRun& run, const ControlsEmbedding& embedding);

}  // namespace mono::report
