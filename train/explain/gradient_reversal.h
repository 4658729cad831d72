// Gradient reversal under the microscope: what the two heads of a run ask of every layer, what the
// reversed gradient makes of their sum, and what of the experiment is left to be read.
//
//   descent direction of the shared layers   g = g_main - lambda w g_batch      (reversed)
//                                            g = g_main                         (detached: a probe)
//   g_main  = d CE(y, class) / d theta,   g_batch = d CE(batch, experiment) / d theta
//   cosine of g with g_batch > 0: a small step along -g lowers the batch head's loss, the
//   experiment becomes easier to read; < 0: the step hides it.
//
// Gradients are those of training: the run's first groups of an epoch, augmented, with batch
// statistics, at the weights of its checkpoint; mean over the groups. w: batch_head.weight; lambda:
// of the step that made these weights.
// Source: RxRx1 section 4.3; Ganin and Lempitsky 2015, equations 4 to 6.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/evaluate/figures.h"
#include "train/evaluate/trained_run.h"

namespace mono {

// A convolution or linear layer below both heads, or all parameters of those together.
struct GradientLayer {
  std::string name;
  int64_t elements = 0;
  double main = 0, batch = 0;  // norms of g_main and of w g_batch
  double cosine = 0;           // between them; 0 where one is zero
  double sum = 0;              // norm of g_main - lambda w g_batch
  double cosine_before = 0;    // of g_main + w g_batch with g_batch: the head attached, unreversed
  double cosine_after = 0;     // of g_main - lambda w g_batch with g_batch
};

// How much of the experiment can be read from one set of images.
struct ReadableExperiment {
  std::string part;          // "test images", "training images", "unseen experiments"
  bool of_training = false;  // the head was trained on them, the probe on half of them
  int experiments = 0;
  int64_t bank = 0, queries = 0;
  double chance = 1;
  std::optional<Share> head;   // the run's own batch head; none where it has not seen them
  std::optional<Share> probe;  // a fresh linear probe on the embedding
  struct Layer {
    std::string name;
    std::optional<Share> probe;  // on the pooled output of this batch norm
  };
  std::vector<Layer> layers;
};

struct GradientReversalExplanation {
  bool reversed = false;  // by the recipe; false: detached
  double lambda = 0, weight = 0;
  int64_t groups = 0, images = 0;  // behind the gradients
  double main_loss = 0, batch_loss = 0;
  std::vector<GradientLayer> layers;
  GradientLayer all;
  std::vector<ReadableExperiment> readable;
};

// Errors: usage (a run of views, or without a batch head; says what to use), data (an image that
// cannot be read).
GradientReversalExplanation explain_gradient_reversal(const TrainedRun& run, int per_experiment,
                                                      int in_all);

}  // namespace mono
