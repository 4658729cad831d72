#include "train/data/loader.h"

#include <chrono>
#include <utility>

#include "kernels/base/thread_pool.h"

namespace mono {

Loader::Loader(const RunSetup& setup, int64_t first_step, int64_t last_step, int workers)
    : setup_(setup),
      per_epoch_(steps_per_epoch(setup) * setup.recipe.batch.groups),
      end_(last_step * setup.recipe.batch.groups),
      next_(first_step * setup.recipe.batch.groups),
      ticket_(next_),
      slots_(static_cast<size_t>(workers) + 1),
      upload_(setup.device) {
  for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

RawBatch Loader::next() {
  if (!ahead_.batch && !ahead_.error) {
    RawBatch batch = take();
    batch.planes = upload_(batch.planes);
    return batch;
  }
  const Slot ahead = std::exchange(ahead_, {});
  if (ahead.error) std::rethrow_exception(ahead.error);
  return *ahead.batch;
}

void Loader::prefetch() {
  if (setup_.device == Device::cpu || next_ >= end_ || ahead_.batch || ahead_.error) return;
  try {
    RawBatch batch = take();
    batch.planes = upload_(batch.planes);
    ahead_.batch = std::move(batch);
  } catch (...) {  // belongs to the group, not to the step before it
    ahead_.error = std::current_exception();
  }
}

RawBatch Loader::take() {
  const auto start = std::chrono::steady_clock::now();
  const auto count_wait = [&] {
    waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  MONO_CHECK(next_ < end_, "the loader has handed out all groups, {}", end_);
  if (threads_.empty()) {
    RawBatch batch = load(next_++);
    count_wait();
    return batch;
  }
  std::unique_lock lock(mutex_);
  Slot& slot = slots_[static_cast<size_t>(next_) % slots_.size()];
  ready_.wait(lock, [&] { return slot.batch || slot.error; });
  count_wait();
  if (slot.error) std::rethrow_exception(slot.error);
  RawBatch batch = std::move(*slot.batch);
  slot.batch.reset();
  ++next_;
  lock.unlock();
  room_.notify_all();
  return batch;
}

void Loader::work() {
  const SerialRegion serial;  // the compute threads belong to the step
  std::unique_lock lock(mutex_);
  while (true) {
    // A group may be read once its slot has been emptied.
    room_.wait(lock, [&] {
      return stop_ || ticket_ >= end_ || ticket_ < next_ + static_cast<int64_t>(slots_.size());
    });
    if (stop_ || ticket_ >= end_) return;
    const int64_t number = ticket_++;
    Slot& slot = slots_[static_cast<size_t>(number) % slots_.size()];
    lock.unlock();
    std::optional<RawBatch> batch;
    std::exception_ptr error;
    try {
      batch = load(number);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    slot.batch = std::move(batch);
    slot.error = error;
    ready_.notify_all();
  }
}

RawBatch Loader::load(int64_t number) {
  const int64_t epoch = number / per_epoch_, index = number % per_epoch_;
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
