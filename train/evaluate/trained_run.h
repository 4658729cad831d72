// A run that was trained, ready to be looked at: its recipe, its screen, its last weights.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/model.h"
#include "runtime/communicator.h"
#include "train/setup.h"

namespace mono {

struct TrainedRun {
  std::unique_ptr<RunSetup> setup;
  std::unique_ptr<Model> model;
  int64_t step = 0;  // optimiser steps behind the weights
  // One that was trained, for the screen's classes; of views it may be the online probe. A run of
  // groups on another screen has one only if the screen has as many classes.
  bool has_classifier = true;
  std::string recipe_hash;
  bool other_screen = false;  // its training images are not those that the run was trained on

  // The images that figures are made of: the test images of the run's split. Where the experiment
  // is the target and test experiments are unseen (separated), no answer could be right: then they
  // are the images of training, and everything printed or written says so.
  std::vector<int> sites;
  bool on_training_images = false;
};

// Error(usage) where `asked` is neither empty nor the split that `recipe` was trained on: test
// images of the other one were in its training.
void check_split(const std::filesystem::path& run, const std::string& asked, const Recipe& recipe);

// Error(data) where a run of groups was opened on a screen whose classes its classifier does not
// know.
void check_classes(const TrainedRun& run);

// Loads the checkpoint that stands for the run (the newest; of a validated run the best), which
// must verify. Of a self-supervised run `model` is its backbone (DINO's teacher's) with the probe.
// `split`: empty, or a split that must be the run's own: test images of the other split were in its
// training. `data`, `cache`: empty for those that the run was trained on. Of several `ranks` all
// call. Errors: usage (the other split; ranks that see different checkpoints or images), data (no
// run, a damaged checkpoint or a screen that does not fit it; each names the file).
TrainedRun load_run(const std::filesystem::path& run, const std::string& split,
                    const std::filesystem::path& data, const std::filesystem::path& cache,
                    Device device = Device::cpu, Communicator& ranks = single_process());

}  // namespace mono
