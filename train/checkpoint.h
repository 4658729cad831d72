// Checkpoints: RUN/ckpt/step_00000120/{model.safetensors, optimizer.safetensors, state.json,
// MANIFEST.json}.
//
// Saving: everything goes into ckpt/.tmp-PID-N/, each file is fsynced, then that folder; it is
// renamed to its name and ckpt/ is fsynced; only then is an older one removed. So whatever happens,
// what is there under a step_ name was complete once. Loading: MANIFEST.json carries sizes and
// XXH3-128 hashes of the other files and a hash of itself, so any damage since is found too.
//
// Needs nothing but named arrays: no model, no arena, no data set.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "models/safetensors.h"
#include "train/json.h"
#include "train/run_directory.h"

namespace mono {

struct CheckpointTensor {
  std::string name;  // module path, "backbone.features.conv0.weight"
  std::vector<int64_t> shape;
  std::span<const float> values;  // borrowed during save()
};

struct CheckpointContent {
  int64_t step = 0;                         // optimiser steps done
  std::vector<CheckpointTensor> model;      // weights and running statistics
  std::vector<CheckpointTensor> optimizer;  // moments
  Json state = Json::object();              // position in the epoch and whatever else resumes
  std::string recipe_hash;
};

struct LoadedCheckpoint {
  std::filesystem::path path;
  int64_t step = 0;
  std::string recipe_hash;
  std::string manifest_hash;  // tells it from any other: the manifest has the hash of each file
  SafetensorsFile model, optimizer;
  JsonView state;  // as given, and the program's version, commit and instruction_set
};

// Verifies and reads one checkpoint. ErrorKind::data names the file that is wrong, and how.
LoadedCheckpoint load_checkpoint(const std::filesystem::path& folder);

// Folders ckpt/step_* of a run by step, newest first; verified by nothing.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& run);

// Of a run that somebody may still be writing: its newest checkpoint, which must verify, as
// evaluation must not silently take another one. ErrorKind::data.
LoadedCheckpoint load_last_checkpoint(const std::filesystem::path& run);
// The run's checkpoint of a step, likewise.
LoadedCheckpoint load_checkpoint_of(const std::filesystem::path& run, int64_t step);

// A run's checkpoints, in the hands of the one process that writes them.
class CheckpointStore {
 public:
  // Removes what killed processes left half-written. keep >= 2. `run` must outlive this.
  CheckpointStore(const RunDirectory& run, int64_t keep);

  // Returns the folder. Errors, all with the older checkpoints untouched and nothing left behind:
  // diverged (a value that is not finite; names the tensor), storage (path, operation, reason).
  std::filesystem::path save(const CheckpointContent& content);

  // The newest that verifies, saying on stderr what was rejected and why; nothing where there is
  // none at all. ErrorKind::data where there are some but none verifies.
  std::optional<LoadedCheckpoint> load_newest();

  // The checkpoint of this step stays whatever comes after it; a negative step: none does.
  void keep_step(int64_t step) { kept_step_ = step; }

 private:
  void publish(const std::filesystem::path& temporary, const std::filesystem::path& folder);
  void prune();
  std::filesystem::path temporary_name();
  // Makes a folder unreachable under its name at once, then deletes it.
  void discard(const std::filesystem::path& folder);

  std::filesystem::path folder_;
  size_t keep_;
  int64_t kept_step_ = -1;
  int serial_ = 0;
  std::set<std::filesystem::path> rejected_;
};

}  // namespace mono
