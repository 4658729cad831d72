// metrics.jsonl: one JSON row per optimiser step, appended as the step is done.
//
// A row is written in one call, so that a reader never sees half of it; a write that fails is taken
// back. After a crash the file may hold rows beyond the checkpoint that training resumes from, and
// a torn last line: opening cuts both, so that the log has neither gap nor repeat.
#pragma once

#include <cstdint>
#include <string>

#include "models/durable_file.h"
#include "train/json.h"

namespace mono {

class MetricsLog {
 public:
  // Opens or creates the file and keeps its rows up to `last_step` (0: none). ErrorKind::data where
  // a row other than the last is not a JSON object with a `step`; ErrorKind::storage.
  MetricsLog(std::string path, int64_t last_step);

  // `row` has at least step, epoch, loss and ranks. ErrorKind::storage, the file unchanged.
  void append(const Json& row);

  // Makes the rows so far survive a power cut; called before a checkpoint of their step is saved.
  void sync();

 private:
  std::string path_;
  FileDescriptor file_;
  size_t size_ = 0;
};

}  // namespace mono
