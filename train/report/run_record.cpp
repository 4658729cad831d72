#include "train/report/run_record.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <limits>
#include <set>

#include "kernels/base/error.h"
#include "models/durable_file.h"
#include "train/checkpoint.h"
#include "train/data/csv.h"
#include "train/evaluate/statistics_mode.h"
#include "train/evaluate/views_evaluation.h"
#include "train/json.h"
#include "train/recipe_keys.h"
#include "train/shell_quote.h"
#include "train/validation.h"

namespace mono::report {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostBytes = size_t{4} << 30;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Does `read`; what goes wrong with a file is a problem of the run, not of the report.
template <class F>
void attempt(RunRecord& run, F read) {
  try {
    read();
  } catch (const std::exception& error) {
    run.problems.emplace_back(error.what());
  }
}

// What may not be looked at is not there for us.
bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::optional<double> number_of(const JsonView& json) {
  try {
    return json.number();
  } catch (const Error&) {
    return std::nullopt;  // a word or a list, which no curve shows
  }
}

void add_row(RunLog& log, const JsonView& json) {
  log.step.push_back(static_cast<double>(json["step"].integer()));
  const auto epoch = json.find("epoch");
  log.epoch.push_back(epoch ? epoch->number() : kNone);
  for (const auto& [key, value] : json.members()) {
    if (key == "step" || key == "epoch") continue;
    const auto number = value.is_null() ? std::optional<double>() : number_of(value);
    if (!number) continue;
    std::vector<double>& column = log.columns[key];
    column.resize(log.step.size() - 1, kNone);
    column.push_back(*number);
  }
}

void read_log(RunRecord& run, const char* name, RunLog& log) {
  const fs::path path = run.folder / name;
  if (!is_there(path)) return;
  attempt(run, [&] {
    const std::string text = read_file(path.string(), kMostBytes);
    read_json_lines(text, path.string(), [&](const JsonView& row, size_t) {
      add_row(log, row);
      return true;
    });
  });
  // Where a row was refused half-way, what it had begun is taken back.
  const size_t rows = std::min(log.step.size(), log.epoch.size());
  log.step.resize(rows);
  for (auto& [key, column] : log.columns) column.resize(rows, kNone);
}

std::map<std::string, double> percentages(const JsonView& json, const char* key) {
  std::map<std::string, double> out;
  const auto found = json.find(key);
  if (!found) return out;
  for (const auto& [name, value] : found->members()) out[name] = 100 * value.number();
  return out;
}

// The columns of an evaluation of views are fractions, but for grit's.
void add_views_figures(const JsonView& json, EvaluationRecord& out) {
  for (const ViewsColumn& column : views_columns())
    if (const auto value = json.find(column.key); value && !value->is_null())
      out.figures[column.key] = column.percent ? 100 * value->number() : value->number();
}

EvaluationRecord read_evaluation(const fs::path& path) {
  const JsonView json = read_json_file(path.string());
  EvaluationRecord out;
  out.file = path.filename().string();
  out.images = json["images"].integer(0);
  out.classes = json["classes"].integer(0);
  out.step = json["step"].integer(0);
  out.predictions = path.parent_path() / json["predictions"].string();
  const auto split = json.find("split");
  if (!split) {
    add_views_figures(json, out);
    return out;
  }
  out.split = split->string();
  out.statistics = json["statistics"].string();
  const auto part = json.find("part");
  out.on_training_images = part && part->string() == "train";
  if (const auto accuracy = json.find("accuracy"))
    out.figures[out.on_training_images ? "training_images" : out.split] = 100 * accuracy->number();
  if (const auto batch = json.find("batch_accuracy"))
    out.figures["batch_accuracy"] = 100 * batch->number();
  out.by_cell_type = percentages(json, "accuracy_by_cell_type");
  out.by_experiment = percentages(json, "accuracy_by_experiment");
  return out;
}

void read_evaluations(RunRecord& run) {
  const fs::path folder = run.folder / "evaluation";
  if (!is_there(folder)) return;
  std::vector<fs::path> files;
  attempt(run, [&] {
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".json") files.push_back(entry.path());
  });
  std::ranges::sort(files);
  for (const fs::path& file : files)
    attempt(run, [&] {
      EvaluationRecord record = read_evaluation(file);
      record.up_to_date = run.evaluated_step < 0 || record.step == run.evaluated_step;
      run.evaluations.push_back(std::move(record));
    });
}

void read_left_out(RunRecord& run) {
  const fs::path path = run.folder / "left_out.csv";
  if (!is_there(path)) return;
  attempt(run, [&] {
    const CsvTable table = read_csv(path, path.string());
    const int site = table.column("site_id"), reason = table.column("reason");
    if (site < 0 || reason < 0)
      fail(ErrorKind::data, "{}: has no columns site_id and reason", path.string());
    for (const CsvRow& row : table.rows)
      run.left_out.emplace_back(row.fields[static_cast<size_t>(site)],
                                row.fields[static_cast<size_t>(reason)]);
  });
}

void read_checkpoint(RunRecord& run) {
  attempt(run, [&] {
    const std::vector<fs::path> checkpoints = list_checkpoints(run.folder);
    if (checkpoints.empty()) return;
    // Not verified: that takes reading all of it, and nothing here computes with it.
    const JsonView state = read_json_file((checkpoints.front() / "state.json").string());
    run.checkpoint_step =
        std::stoll(checkpoints.front().filename().string().substr(std::string("step_").size()));
    const int64_t best = best_step_of(state);
    run.evaluated_step = best >= 0 ? best : run.checkpoint_step;
    if (const auto total = state.find("total_steps")) run.total_steps = total->integer();
    if (const auto weights = state.find("weights")) run.weights = weights->string();
  });
}

// Whether a process holds the folder's lock (RunDirectory).
bool is_locked(const fs::path& folder) {
  const FileDescriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() < 0) return false;
  if (::flock(descriptor.get(), LOCK_SH | LOCK_NB) == 0) return false;
  return errno == EWOULDBLOCK;
}

void count_steps(RunRecord& run) {
  const RunLog& log = run.metrics;
  run.steps = log.rows() ? static_cast<int64_t>(log.step.back())
                         : std::max<int64_t>(run.checkpoint_step, 0);
  for (size_t i = 0; i < log.rows() && run.epoch_steps == 0; ++i)
    if (log.epoch[i] == 2 && log.step[i] > 1)
      run.epoch_steps = static_cast<int64_t>(log.step[i]) - 1;
  if (!run.recipe) return;
  const int64_t epochs = run.recipe->train.epochs;
  if (run.epoch_steps == 0 && run.total_steps > 0 && epochs > 0)
    run.epoch_steps = run.total_steps / epochs;
  if (run.total_steps == 0) run.total_steps = run.epoch_steps * epochs;
  const std::vector<double>* speed = log.column("images_per_s");
  for (size_t i = 0; speed && i < speed->size(); ++i)
    if ((*speed)[i] > 0)
      run.seconds += static_cast<double>(run.recipe->batch.images()) / (*speed)[i];
}

RunState state_of(const RunRecord& run) {
  if (!is_there(run.folder / "recipe.toml") && run.metrics.rows() == 0) return RunState::absent;
  if (run.total_steps > 0 && run.steps >= run.total_steps) return RunState::finished;
  // controls/untrained: a checkpoint of nothing is all that there is to be.
  if (run.recipe && run.recipe->train.epochs == 0 && run.checkpoint_step == 0)
    return RunState::finished;
  if (is_locked(run.folder)) return RunState::training;
  return run.steps > 0 ? RunState::stopped : RunState::started;
}

bool is_run(const fs::path& folder) {
  return is_there(folder / "recipe.toml") || is_there(folder / "metrics.jsonl");
}

void find_below(const fs::path& folder, int levels, std::vector<fs::path>& found) {
  if (is_run(folder)) {
    found.push_back(folder);
    return;
  }
  if (levels == 0) return;
  std::vector<fs::path> folders;
  std::error_code error;  // what may not be read holds no runs for us
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->is_directory(error) && !at->is_symlink(error)) folders.push_back(at->path());
  std::ranges::sort(folders);
  for (const fs::path& below : folders) find_below(below, levels - 1, found);
}

}  // namespace

const std::vector<double>* RunLog::column(const std::string& key) const {
  const auto found = columns.find(key);
  return found == columns.end() ? nullptr : &found->second;
}

std::string RunRecord::state_text() const {
  const std::string of = total_steps > 0 ? fmt::format(" of {}", total_steps) : "";
  switch (state) {
    case RunState::absent:
      return "never started: the folder holds no run";
    case RunState::started:
      return "started, no step done yet";
    case RunState::stopped:
      return fmt::format("stopped after step {}{}", steps, of);
    case RunState::training:
      return fmt::format("training: step {}{}", steps, of);
    case RunState::finished:
      return fmt::format("finished: {} steps", steps);
  }
  return "";
}

RunRecord read_run(const fs::path& folder) {
  RunRecord run;
  run.folder = folder;
  const fs::path recipe = folder / "recipe.toml";
  if (is_there(recipe)) {
    attempt(run, [&] { run.recipe_source = read_file(recipe.string(), 1 << 20); });
    attempt(run, [&] {
      run.recipe = read_run_recipe(folder);
      run.hash = recipe_hash(*run.recipe);
      run.label = label_of(*run.recipe);
    });
    attempt(run, [&] { run.info = read_run_info(folder); });
  }
  read_log(run, "metrics.jsonl", run.metrics);
  read_log(run, "validation.jsonl", run.validation);
  read_checkpoint(run);
  count_steps(run);
  read_evaluations(run);
  read_left_out(run);
  for (const char* name : {"embeddings", "evaluation/features"})
    if (run.embeddings.empty() && is_there(folder / name / "embeddings.npy"))
      run.embeddings = folder / name;
  run.state = state_of(run);
  return run;
}

std::vector<fs::path> find_runs(const std::vector<fs::path>& paths) {
  std::vector<fs::path> found;
  for (const fs::path& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error))
      fail(ErrorKind::data,
           "{}: is not a folder; give what `train --out` or `reproduce --out` was given",
           path.string());
    const size_t before = found.size();
    find_below(path, 4, found);
    if (found.size() == before) found.push_back(path);
  }
  std::set<fs::path> seen;
  std::erase_if(found, [&](const fs::path& path) {
    std::error_code error;
    const fs::path whole = fs::canonical(path, error);
    return !seen.insert(error ? path : whole).second;
  });
  return found;
}

std::vector<std::string> repeat_commands(const RunRecord& run) {
  if (!run.recipe) return {};
  const Recipe& recipe = *run.recipe;
  const std::string out = shell_quoted(run.folder.string() + "-again");
  std::string train = "train_rxrx train --recipe ";
  try {
    const auto base = recipe_texts(load_recipe(recipe.name));
    std::vector<std::string> sets;
    for (const auto& [key, value] : recipe_texts(recipe))
      if (base.at(key) != value) sets.push_back(key + "=" + value);
    if (recipe_texts(load_recipe(recipe.name, sets)) != recipe_texts(recipe))
      fail(ErrorKind::usage, "{}: has changed", recipe.name);
    train += shell_quoted(recipe.name);
    for (const std::string& set : sets) train += " --set " + shell_quoted(set);
  } catch (const Error&) {
    // A recipe that is no longer there or not the same: the run holds it, resolved.
    train += shell_quoted((run.folder / "recipe.toml").string());
  }
  if (run.info) {
    train += " --data " + shell_quoted(run.info->data);
    if (!run.info->cache.empty()) train += " --cache " + shell_quoted(run.info->cache);
  }
  std::vector<std::string> commands = {train + " --out " + out};
  const std::string own = name_of(statistics_mode("", recipe));
  for (const EvaluationRecord& evaluation : run.evaluations) {
    std::string command = "train_rxrx evaluate " + out;
    if (!evaluation.statistics.empty() && evaluation.statistics != own)
      command += " --statistics " + evaluation.statistics;
    if (std::ranges::find(commands, command) == commands.end()) commands.push_back(command);
  }
  return commands;
}

}  // namespace mono::report
