// What training says while it runs:
//
//   ep 12/100  step 3,412/15,900  loss 4.812  |g| 0.91  lr 9.8e-02  712 img/s  data 1.2 %
//   mem 1.4 GB  ETA 14:32 (2:05 h)                                               (one line)
//
// img/s and the share of time spent waiting for data are those since the line before; the ETA is
// from all steps of this process.
#pragma once

#include "train/progress.h"

namespace mono {

struct StepReport {
  int64_t epoch = 0, epochs = 0;  // from 1
  int64_t step = 0, steps = 0;    // from 1, over the whole run
  double loss = 0;
  double gradient_norm = 0;
  double learning_rate = 0;
  double seconds = 0;                // of the step, the wait for data included
  double wait_seconds = 0;           // of which waiting for data
  int64_t images = 0;                // in the step
  uint64_t device_memory_bytes = 0;  // of tensors on a GPU; 0: the memory of this process is shown
};

class TrainProgress {
 public:
  explicit TrainProgress(std::FILE* out = stderr);  // another one for tests
  ~TrainProgress();                                 // shows the last step

  // Shows the step if it is time for a line; the first one at once.
  void step(const StepReport& report);
  // Clears the live line, so that other output can be printed.
  void clear() { line_.clear(); }

  // Seconds of all steps so far, and those of them spent waiting for data.
  double seconds() const { return all_.seconds; }
  double wait_seconds() const { return all_.wait_seconds; }

 private:
  void show();

  ProgressLine line_;
  StepReport last_;
  StepReport interval_, all_;  // sums of seconds, wait_seconds and images since the last line; ever
  int64_t steps_ = 0;          // of this process
  bool pending_ = false;
};

// The line itself; `interval` gives rates, `seconds_left` the ETA.
std::string progress_text(const StepReport& report, const StepReport& interval,
                          uint64_t memory_bytes, double seconds_left);

// Bytes of memory that this process occupies now (resident set).
uint64_t resident_bytes();

}  // namespace mono
