// Reads the groups of a run ahead of the training step, and brings their planes to its device.
//
// Worker threads take the groups of the plan in order, read and decode their images and draw their
// augmentation (read_ahead.h).
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "train/data/planes_upload.h"
#include "train/data/read_ahead.h"
#include "train/data/sampler.h"
#include "train/ranks.h"

namespace mono {

class Loader {
 public:
  // The groups of steps [first_step, last_step) of the run, counted over all epochs; of each step
  // those of `share` only.
  Loader(const RunSetup& setup, int64_t first_step, int64_t last_step, int workers,
         const GroupShare& share);
  Loader(const RunSetup& setup, int64_t first_step, int64_t last_step, int workers);  // all

  // The next group, its planes on RunSetup::device. They stay until the next call but one; what
  // computes on them must have been enqueued before the next call. Rethrows what its reading threw:
  // Error(data) names the file.
  RawBatch next();
  // Starts to copy the next group's planes to a GPU, which works meanwhile: for the end of a step,
  // before the host waits. Nothing on the CPU, or when there is no further group.
  void prefetch();
  // Seconds that next() has spent waiting (or reading, without workers) since the start.
  double waited() const { return reader_.waited(); }

 private:
  using Plan = std::shared_ptr<const std::vector<Group>>;

  RawBatch load(int64_t number);
  Plan plan(int64_t epoch);

  const RunSetup& setup_;
  const GroupShare share_;
  const int64_t per_epoch_;  // groups, of all ranks
  std::mutex plan_mutex_;
  int64_t plan_epoch_ = -1;
  Plan plan_;
  PlanesUpload upload_;
  struct Ahead {  // what prefetch() has taken
    std::optional<RawBatch> batch;
    std::exception_ptr error;
  };
  Ahead ahead_;
  ReadAhead<RawBatch>
      reader_;  // the share's groups, numbered across epochs; last: its threads use the rest
};

}  // namespace mono
