#include "train/data/loader.h"

#include <utility>

namespace mono {

Loader::Loader(const RunSetup& setup, int64_t first_step, int64_t last_step, int workers)
    : Loader(setup, first_step, last_step, workers,
             share_of(single_process(), setup.recipe.batch.groups)) {}

Loader::Loader(const RunSetup& setup, int64_t first_step, int64_t last_step, int workers,
               const GroupShare& share)
    : setup_(setup),
      share_(share),
      per_epoch_(steps_per_epoch(setup) * share.groups),
      upload_(setup.device),
      reader_(first_step * share.count, last_step * share.count, workers,
              [this](int64_t number) { return load(number); }) {}

RawBatch Loader::next() {
  if (!ahead_.batch && !ahead_.error) {
    RawBatch batch = reader_.next();
    batch.planes = upload_(batch.planes);
    return batch;
  }
  const Ahead ahead = std::exchange(ahead_, {});
  if (ahead.error) std::rethrow_exception(ahead.error);
  return *ahead.batch;
}

void Loader::prefetch() {
  if (setup_.device == Device::cpu || reader_.finished() || ahead_.batch || ahead_.error) return;
  try {
    RawBatch batch = reader_.next();
    batch.planes = upload_(batch.planes);
    ahead_.batch = std::move(batch);
  } catch (...) {  // belongs to the group, not to the step before it
    ahead_.error = std::current_exception();
  }
}

RawBatch Loader::load(int64_t number) {
  const int64_t group =
      number / share_.count * share_.groups + share_.first + number % share_.count;
  const int64_t epoch = group / per_epoch_, index = group % per_epoch_;
  const Plan groups = plan(epoch);
  RawBatch batch = read_batch(setup_, (*groups)[static_cast<size_t>(index)]);
  draw_augmentation(setup_, epoch, index, batch);
  return batch;
}

Loader::Plan Loader::plan(int64_t epoch) {
  const std::lock_guard lock(plan_mutex_);
  if (plan_epoch_ != epoch) {
    plan_ = std::make_shared<const std::vector<Group>>(mono::plan_epoch(setup_, epoch));
    plan_epoch_ = epoch;
  }
  return plan_;
}

}  // namespace mono
