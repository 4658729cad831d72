#include "train/trial_step.h"

#include <algorithm>
#include <chrono>

#include "runtime/allocator.h"

namespace mono {

TrialStep try_a_step(RunSetup& setup, Model& model, int64_t images) {
  const Recipe::Batch whole = setup.recipe.batch;
  setup.recipe.batch.groups = 1;
  setup.recipe.batch.group_size = std::min(whole.group_size, images);
  setup.recipe.batch.anchors = std::min(whole.anchors / whole.groups, images);
  const std::unique_ptr<TrainStep> step = make_train_step(setup, model);
  step->start(0, 2, 0);
  step->run(0);
  CachingAllocator& allocator = CachingAllocator::of(setup.device);
  const int64_t before = allocator.counters().active_bytes;
  allocator.reset_peak();
  const auto start = std::chrono::steady_clock::now();
  TrialStep trial;
  trial.figures = *step->run(1);
  trial.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  trial.images = setup.recipe.batch.images();
  trial.held_bytes = static_cast<double>(before);
  trial.activation_bytes = static_cast<double>(allocator.counters().peak_active_bytes - before);
  setup.recipe.batch = whole;
  return trial;
}

}  // namespace mono
