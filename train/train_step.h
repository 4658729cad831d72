// One optimiser step of a run, whatever its method: what the loop, the checkpoints and `check` see
// of it.
//
//   GroupsStep            groups of images, each with batch statistics of its own  (groups_step.h)
//   SupervisedStep        one crop of each image, cross-entropy (supervised_step.h)
//   SelfSupervisedStep    pairs of images, several crops of each, a teacher
//   (self_supervised_step.h)
//
// A step owns its loader and everything that carries over from one step to the next; it lists the
// latter by name (TrainingState), so that saving, restoring and fingerprints are one code for all.
// What can be computed from the step's number (plans, draws, schedules) is never state.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/communicator.h"
#include "train/setup.h"
#include "train/training_state.h"

namespace mono {

// What a step reports. Means over its images; accuracies count where the largest logit meets the
// largest target.
struct StepFigures {
  double loss = 0;         // of all heads, as it is minimised (the batch head's with its weight)
  double target_loss = 0;  // of the main head or, self-supervised, of the probe
  double batch_loss = 0;   // of the batch head, without its weight
  double accuracy = 0, batch_accuracy = 0;
  double gradient_norm = 0;  // of the mean gradient, before it is clipped
  double learning_rate = 0;
  bool finite = true;  // losses, gradient and the groups' statistics
  // What only this method has, by the name that it has in metrics.jsonl.
  std::vector<std::pair<std::string, double>> more;
};

class TrainStep {
 public:
  virtual ~TrainStep() = default;

  // Starts to read for steps [first, last), which run() then takes one after the other. `workers`
  // threads; 0: run() reads by itself.
  virtual void start(int64_t first, int64_t last, int workers) = 0;

  // The next step; `step` counts from 0 over all epochs. Error(diverged) names the step (from 1, as
  // everything printed) and what is wrong; the state is then that before the step. The device is
  // waited for once, when its figures are read, before the update. Nothing is returned and nothing
  // has changed where `abandon`, which may be asked several times, said so: the end of a long step
  // need not be waited for. One of several ranks does not ask: a step is all ranks' or none's.
  virtual std::optional<StepFigures> run(int64_t step,
                                         const std::function<bool()>& abandon = {}) = 0;

  // Everything that carries over from step to step.
  virtual TrainingState state() = 0;

  // The network that is evaluated, now: its embeddings are the run's features. Self-supervised by
  // DINO, the teacher.
  virtual const Model& evaluated() const = 0;

  // Seconds that run() has waited for data since start().
  virtual double waited() const = 0;

  virtual int64_t epoch_steps() const = 0;
  virtual int64_t total_steps() const = 0;
  virtual int64_t images() const = 0;  // of the screen, in a step
};

// The step of the recipe's method, on the network that make_model() made for it; this rank's part
// of it, of several. All arguments must outlive it.
std::unique_ptr<TrainStep> make_train_step(const RunSetup& setup, Model& model,
                                           Communicator& ranks = single_process());

}  // namespace mono
