// What a run shows of itself while it trains, out of the logs that it writes anyway:
//
//   RUN/plots.html     curves, replaced durably after every epoch (`train --plots`)
//   RUN/tensorboard/   events, from the first row on and then with every step (`--tensorboard`)
//
// Both follow metrics.jsonl and validation.jsonl, so that a resumed run shows neither gap nor
// repeat. Showing never ends training: a file that cannot be written is a warning.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "train/report/tensorboard.h"

namespace mono::report {

// Writes RUN/plots.html from RUN/metrics.jsonl and validation.jsonl. ErrorKind::storage.
void write_plots(const std::filesystem::path& run);

class TrainingWatch {
 public:
  TrainingWatch(std::filesystem::path run, bool plots, bool tensorboard);

  void step();   // after a step was logged
  void epoch();  // after an epoch, and at the end

 private:
  // The rows of a log that were not there before.
  struct Tail {
    std::filesystem::path path;
    size_t read = 0;  // bytes
    int rows = 0;     // in them
  };
  void follow(Tail& log, const char* group);
  void attempt(const std::function<void()>& write);

  std::filesystem::path run_;
  bool plots_;
  Tail metrics_, validation_;
  std::unique_ptr<TensorboardFile> events_;
  std::string warned_;
};

}  // namespace mono::report
