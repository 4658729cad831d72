// Reads the groups of a run ahead of the training step, and brings their planes to its device.
//
// Worker threads take the groups of the plan in order, read and decode their images and draw their
// augmentation; next() hands them out in the same order, whoever was quicker. What is ready and
// not yet taken is bounded by workers + 1 groups. Without workers next() reads by itself.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "train/data/planes_upload.h"
#include "train/data/sampler.h"

namespace mono {

class Loader {
 public:
  // The groups of steps [first_step, last_step) of the run, counted over all epochs.
  Loader(const RunSetup& setup, int64_t first_step, int64_t last_step, int workers);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The next group, its planes on RunSetup::device. They stay until the next call but one; what
  // computes on them must have been enqueued before the next call. Rethrows what its reading threw:
  // Error(data) names the file.
  RawBatch next();
  // Starts to copy the next group's planes to a GPU, which works meanwhile: for the end of a step,
  // before the host waits. Nothing on the CPU, or when there is no further group.
  void prefetch();
  // Seconds that next() has spent waiting (or reading, without workers) since the start.
  double waited() const { return waited_; }

 private:
  struct Slot {
    std::optional<RawBatch> batch;
    std::exception_ptr error;
  };
  using Plan = std::shared_ptr<const std::vector<Group>>;

  void work();
  RawBatch take();  // the next group as it was read
  RawBatch load(int64_t number);
  Plan plan(int64_t epoch);

  const RunSetup& setup_;
  const int64_t per_epoch_;  // groups
  const int64_t end_;        // groups of the run are numbered across epochs
  int64_t next_;             // to be handed out
  int64_t ticket_;           // to be read
  double waited_ = 0;
  bool stop_ = false;
  std::vector<Slot> slots_;  // ring, by group number
  std::mutex mutex_, plan_mutex_;
  std::condition_variable room_, ready_;
  int64_t plan_epoch_ = -1;
  Plan plan_;
  PlanesUpload upload_;
  Slot ahead_;  // what prefetch() has taken
  std::vector<std::thread> threads_;
};

}  // namespace mono
