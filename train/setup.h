// Everything a run works on, from a recipe and a screen: sites, split, labels, pixels,
// normalisation, and the network. Training, evaluation and embedding start here, so that they
// agree on what a class, an experiment and an input are.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/registry.h"
#include "models/self_supervised.h"
#include "train/data/dataset.h"
#include "train/data/folds.h"
#include "train/data/image_source.h"
#include "train/data/normalisation.h"
#include "train/data/split.h"
#include "train/recipe.h"

namespace mono {

// A site that the run does without, and why.
struct LeftOut {
  int site;            // index into Dataset::sites
  std::string reason;  // names the file
};

struct RunSetup {
  Recipe recipe;
  Dataset dataset;
  std::unique_ptr<ImageSource> images;
  Split split;
  std::vector<LeftOut> left_out;  // sites of the split without all of their images

  std::vector<int> channels;             // of the images, from 0
  int crop = 0;                          // side of the network's input
  NormalisationStats normalisation;      // without values: self
  DType precision = DType::f32;          // of activations
  Device device = Device::cpu;           // where the network computes
  int classes = 0;                       // of the main head
  std::vector<std::string> class_names;  // [class]; siRNA names, or experiments as the target
  std::vector<int> label;                // [site] class; -1: unknown (unlabelled test wells)
  int experiments = 0;                   // of the batch head; the label is Site::experiment

  RunSetup() = default;
  RunSetup(const RunSetup&) = delete;  // `images` refers to `dataset`
  RunSetup& operator=(const RunSetup&) = delete;
};

// Opens the screen (`cache`: a file of `data pack`, or empty), makes the recipe's split, and checks
// that it can be trained on. Prints nothing. Under data.on_bad_image = drop every image of the
// split is read once, and sites that cannot be are left out; under fail a damaged file stops the
// run when it is reached, naming itself. Sites of which channels are absent are left out in any
// case: the tables of a screen list more than what was acquired. `reading` is called, by any
// thread, before each image that is read for all that. Errors: usage for recipe values that do not
// fit the screen (channels, crop, experiments), data for the screen's own faults.
std::unique_ptr<RunSetup> set_up(const Recipe& recipe, const std::filesystem::path& data,
                                 const std::filesystem::path& cache = {},
                                 Device device = Device::cpu,
                                 const std::function<void()>& reading = {});

// Error(usage) where a recipe that starts from ImageNet weights is given none, or two starts.
void check_start(const Recipe& recipe);

// How many channels the recipe takes of a screen's images.
size_t channel_count(const Recipe& recipe, const Dataset& screen);

// How the recipe parts a screen.
SplitOptions split_options(const Recipe& recipe);

// The recipe's parts: a fold, or train and test by data.split with, perhaps, experiments held out
// for validation. include_incomplete: also sites without images (dry runs on a table alone).
Split split_of(const Recipe& recipe, const Dataset& dataset, bool include_incomplete = false);

// The size of the recipe's DeiT.
DeitConfig deit_config(const Recipe& recipe);

// The student of a self-supervised recipe; its teacher is the same without the predictor.
SelfSupervisedConfig self_supervised_config(const RunSetup& setup);

// What the registry makes the recipe's network from. Of `setup` it reads recipe, channels, classes
// and experiments.
ModelOptions model_options(const RunSetup& setup);

// What a run of views is evaluated with: its backbone and a linear classifier, freshly drawn.
std::unique_ptr<Model> make_evaluated_model(const RunSetup& setup);

// The recipe's network with its parameters registered, not allocated: what it would be. Of `setup`
// it reads recipe, channels, classes and experiments.
std::unique_ptr<Model> unallocated_model(const RunSetup& setup);

// The recipe's network on the screen's classes and experiments, freshly drawn from the seed, or
// where the recipe says so, with the backbone of model.weights or of the run model.init_from.
// Error(usage) where a recipe of pretrained weights is given none.
std::unique_ptr<Model> make_model(const RunSetup& setup);

// Batch-head options of the recipe for a forward pass, at `progress` (0..1) of the training.
BatchHead batch_head_at(const Recipe& recipe, double progress);

}  // namespace mono
