// What a run has left on disk, read without its network and without a lock, as far as it goes: a
// run may be training, have no evaluation, be damaged, or never have been started. What is missing
// is empty; what is wrong is a sentence in `problems`. Nothing here throws for the content of a
// file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/recipe.h"
#include "train/run_directory.h"

namespace mono::report {

// metrics.jsonl or validation.jsonl: a row a step. A last line that is still being written is left
// out.
struct RunLog {
  std::vector<double> step, epoch;
  std::map<std::string, std::vector<double>> columns;  // (rows) by key; NaN where a row has none

  size_t rows() const { return step.size(); }
  const std::vector<double>* column(const std::string& key) const;  // null: there is none
};

// evaluation/SPLIT-STATISTICS.json, or views.json (then `split` is empty).
struct EvaluationRecord {
  std::string file;        // "separated-running.json"
  std::string split;       // separated | stratified; empty: an evaluation of views
  std::string statistics;  // of batch norm; of views empty
  bool on_training_images = false;
  int64_t images = 0, classes = 0, step = 0;
  std::map<std::string, double> figures;  // by column, as printed: percent, but plain for grit
  std::map<std::string, double> by_cell_type, by_experiment;  // percent
  std::filesystem::path predictions;                          // the CSV beside it
  bool up_to_date = true;  // of the checkpoint that stands for the run; false: it is another now
};

enum class RunState {
  absent,   // the folder holds no run
  started,  // a recipe and no step yet
  stopped,  // some steps, and nobody writes to it
  training,
  finished
};

struct RunRecord {
  std::filesystem::path folder;
  RunState state = RunState::absent;
  std::optional<Recipe> recipe;
  std::string recipe_source;  // recipe.toml as it is, readable or not
  std::optional<RunInfo> info;
  std::string hash;
  std::string label;  // of every result (label_of): "from scratch", or empty
  RunLog metrics, validation;
  int64_t steps = 0, total_steps = 0;  // done; planned, 0: unknown
  int64_t epoch_steps = 0;             // 0: unknown
  double seconds = 0;                  // of all steps
  int64_t checkpoint_step = -1;        // the newest
  int64_t evaluated_step = -1;  // the one that stands for the run: the best by validation, if any
  std::string weights;          // fingerprint of the newest checkpoint
  std::vector<EvaluationRecord> evaluations;
  std::vector<std::pair<std::string, std::string>> left_out;  // site, reason
  std::filesystem::path embeddings;                           // a folder of them; empty: none
  std::vector<std::string> problems;

  std::string state_text() const;  // "finished: 240 steps", "stopped after step 100 of 240"
};

RunRecord read_run(const std::filesystem::path& folder);

// The runs that `paths` name: each a run, or a folder with runs in it, down to four levels, in the
// order of their names, each once. A folder without any stands for itself (RunState::absent).
// Error: data for a path that is not a folder.
std::vector<std::filesystem::path> find_runs(const std::vector<std::filesystem::path>& paths);

// How to make the run and its evaluations again, beside it in FOLDER-again, for a shell:
// `train_rxrx train --recipe ... --set ...`, with the keys in which it differs from the recipe of
// that name, or by the run's own recipe.toml where these do not make the same recipe any more.
std::vector<std::string> repeat_commands(const RunRecord& run);

}  // namespace mono::report
