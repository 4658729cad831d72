// A run's folder, and who may write to it.
//
//   recipe.toml     the resolved recipe                     run.json       where the data is, who
//   ran metrics.jsonl   a row per step (metrics.h)              evaluation/    results and
//   predictions ckpt/step_*/    checkpoints (checkpoint.h)
#pragma once

#include <filesystem>
#include <string>

#include "models/durable_file.h"

namespace mono {

struct Recipe;

// What a run needs to be evaluated or resumed elsewhere, and what its numbers depend on.
struct RunInfo {
  std::string recipe_hash;
  std::string data;                              // absolute path of the screen
  std::string cache;                             // absolute path of its cache file, or empty
  std::string version, commit, instruction_set;  // of the program that started the run
};

// The folder, opened for writing by one process at a time.
class RunDirectory {
 public:
  // Creates the folder if needed and locks it until destruction. ErrorKind::storage where another
  // process holds the lock or the folder cannot be made.
  explicit RunDirectory(std::filesystem::path path);
  // The same folder for the ranks that do not write: nothing is made or locked.
  static RunDirectory without_writing(std::filesystem::path path);

  bool writes() const { return lock_.get() >= 0; }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path checkpoints() const { return path_ / "ckpt"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path evaluation() const { return path_ / "evaluation"; }

  // True where a run was started here before.
  bool has_run() const;

  // Writes recipe.toml and run.json (version, commit and instruction set are filled in).
  void start(const Recipe& recipe, RunInfo info) const;
  // The run has gone on with its screen and cache (absolute paths) in another place.
  void moved(const std::string& data, const std::string& cache) const;

 private:
  RunDirectory(std::filesystem::path path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::filesystem::path path_;
  FileDescriptor lock_;
};

// Read back without a lock. ErrorKind::data if `run` is not the folder of a run.
Recipe read_run_recipe(const std::filesystem::path& run);
RunInfo read_run_info(const std::filesystem::path& run);

// Ends with ErrorKind::usage, listing the keys, if `now` differs from the run's recipe in anything
// that decides results.
void check_same_recipe(const std::filesystem::path& run, const Recipe& now);

// ErrorKind::usage unless `out` (of --out) ends with `extension` (".html"): a slip there would
// replace a table or a recipe.
void check_extension(const std::filesystem::path& out, const char* extension);

// Creates a folder and those above it. ErrorKind::storage.
void make_folder(const std::filesystem::path& path);

}  // namespace mono
