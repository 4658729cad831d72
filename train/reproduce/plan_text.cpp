// What `reproduce --dry-run` prints.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "train/progress.h"
#include "train/recipe_keys.h"
#include "train/reproduce/plan.h"
#include "train/reproduce/results.h"

namespace mono {
namespace {

std::string with_commas(int64_t value) {
  std::string digits = std::to_string(value);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string paper_of(const PlannedRow& row, const Column& column) {
  const auto found = row.paper.find(column.key);
  if (found == row.paper.end()) return "-";
  return text_of(found->second, column.percent);
}

// Right-aligned in so many columns; "±" is two bytes and one column.
std::string padded(const std::string& text, size_t width) {
  size_t columns = 0;
  for (const char c : text) columns += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return std::string(width > columns ? width - columns : 0, ' ') + text;
}

std::string flops_text(double flops) {
  return fmt::format("{:.1e}", flops);
}

// Runs of one row that differ in nothing but the seed.
struct Line {
  std::string where;
  std::vector<size_t> runs;
};

std::vector<Line> lines_of(const Plan& plan, const PlannedRow& row) {
  std::vector<Line> lines;
  for (const size_t index : plan.runs_of(row)) {
    const PlannedRun& run = plan.runs[index];
    const std::string where =
        run.recipe.data.fold > 0
            ? fmt::format("fold {}", run.recipe.data.fold)
            : EnumNames<SplitBy>::list()[static_cast<size_t>(run.recipe.data.split)];
    auto line = std::ranges::find(lines, where, &Line::where);
    if (line == lines.end()) line = lines.insert(lines.end(), {where, {}});
    line->runs.push_back(index);
  }
  return lines;
}

class PlanText {
 public:
  PlanText(const Plan& plan, const ReproduceOptions& options,
           const std::map<std::string, double>& speed)
      : plan_(plan), options_(options), speed_(speed) {}

  std::string text() {
    for (const auto& [kind, screen] : plan_.screens) add_screen(screen);
    for (const PlannedExperiment& experiment : plan_.experiments) add_experiment(experiment);
    add_unlabelled();
    add_obstacles();
    add_totals();
    return text_;
  }

 private:
  void add_screen(const Screen& screen) {
    const Dataset& dataset = screen.dataset;
    text_ += fmt::format("{}: {}, {} experiments, {} classes, {} images{}\n", options_.table,
                         screen.data.string(), dataset.experiments.size(),
                         with_commas(dataset.num_classes),
                         with_commas(static_cast<int64_t>(dataset.sites.size())),
                         screen.has_images() ? "" : " in the table (no image is there)");
  }

  void add_experiment(const PlannedExperiment& planned) {
    const Experiment& experiment = *planned.experiment;
    text_ += fmt::format("\n{}: {}\n", experiment.id, experiment.title);
    if (planned.rows.empty()) {
      text_ += "a picture of the screen or of the model: nothing is trained\n";
      return;
    }
    size_t width = 24;
    for (const PlannedRow& row : planned.rows) width = std::max(width, row.row->name.size());
    text_ += fmt::format("{:<11} {:<{}} {:>15} {:>11} {:>14} {:>11} {:>5} {:>15} {:>8} {:>6}\n",
                         "split", "method", width, "training images", "test images",
                         "steps an epoch", "steps a run", "runs", "paper", "FLOP", "shared");
    // By split first, as the paper's tables have their columns.
    std::vector<std::string> places;
    for (const PlannedRow& row : planned.rows)
      for (const Line& line : lines_of(plan_, row))
        if (std::ranges::find(places, line.where) == places.end()) places.push_back(line.where);
    for (const std::string& place : places)
      for (const PlannedRow& row : planned.rows)
        for (const Line& line : lines_of(plan_, row))
          if (line.where == place) add_line(experiment, row, line, width);
    if (!planned.not_rehearsed.empty())
      text_ += fmt::format("{} rows are not part of a rehearsal: {}\n",
                           planned.not_rehearsed.size(), fmt::join(planned.not_rehearsed, ", "));
  }

  void add_line(const Experiment& experiment, const PlannedRow& row, const Line& line,
                size_t width) {
    const PlannedRun& first = plan_.runs[line.runs.front()];
    // The paper's figure of the column that this split is for; else the first.
    const Column* column = &experiment.columns.front();
    for (const Column& candidate : experiment.columns)
      if (candidate.split == line.where && candidate.over.empty()) {
        column = &candidate;
        break;
      }
    int64_t shared = 0;
    double flops = 0;
    for (const size_t run : line.runs) {
      if (!listed_.insert(run).second)
        ++shared;
      else
        flops += plan_.runs[run].flops();
    }
    runs_before_sharing_ += static_cast<int64_t>(line.runs.size());
    text_ += fmt::format("{:<11} {:<{}} {:>15} {:>11} {:>14} {:>11} {:>5} {} {:>8} {:>6}\n",
                         line.where, row.row->name, width, with_commas(first.training),
                         with_commas(first.test), with_commas(first.steps_per_epoch),
                         with_commas(first.steps()), line.runs.size(),
                         padded(paper_of(row, *column), 15), flops_text(flops), shared);
  }

  void add_unlabelled() {
    for (const auto& [kind, screen] : plan_.screens) {
      const int64_t unlabelled = std::ranges::count_if(
          screen.dataset.sites, [](const Site& site) { return site.sirna_id < 0; });
      if (unlabelled == 0) continue;
      std::string refused;
      for (const PlannedExperiment& planned : plan_.experiments)
        for (const Column& column : planned.experiment->columns)
          if (planned.experiment->needs_classes && refuses(planned, column))
            refused += fmt::format("  {}: {}\n", planned.experiment->id, column.title);
      text_ += fmt::format(
          "\n{} test images have no class in the table: the stratified split leaves them out{}\n{}",
          with_commas(unlabelled),
          refused.empty() ? ""
                          : ", and figures that need\nthe classes of all test images are refused:",
          refused);
    }
  }

  bool refuses(const PlannedExperiment& planned, const Column& column) const {
    const size_t c = static_cast<size_t>(&column - planned.experiment->columns.data());
    for (const PlannedRow& row : planned.rows)
      for (const auto& replicates : row.replicates)
        for (const Replicate& replicate : replicates)
          if (!label_obstacle(column, plan_.runs[replicate.columns[c].run]).empty()) return true;
    return false;
  }

  void add_obstacles() {
    std::map<std::string, std::vector<std::string>> by_reason;
    for (const PlannedRun& run : plan_.runs)
      if (!run.obstacle.empty())
        by_reason[run.obstacle].push_back(run.recipe_name + ", " + run.place());
    for (const auto& [reason, runs] : by_reason) {
      text_ += fmt::format("\n{} runs cannot be made: {}\n", runs.size(), reason);
      for (const std::string& run : runs) text_ += fmt::format("  {}\n", run);
    }
  }

  void add_totals() {
    int64_t steps = 0, finished = 0;
    double flops = 0, disk = 0;
    std::set<int64_t> images;
    for (const PlannedRun& run : plan_.runs) {
      steps += run.steps();
      finished += run.finished;
      flops += run.flops();
      disk += run.cost.checkpoint_bytes * static_cast<double>(run.recipe.checkpoint.keep);
      images.insert(run.recipe.batch.images());
    }
    const auto runs = static_cast<int64_t>(plan_.runs.size());
    text_ += fmt::format(
        "\n{} runs{}, {} of them finished; {} steps of {} images in all\n", with_commas(runs),
        runs_before_sharing_ > runs ? fmt::format(" ({} before sharing)", runs_before_sharing_)
                                    : "",
        finished, with_commas(steps), fmt::join(images, ", "));
    text_ += fmt::format("{} FLOP of training; about {:.1f} GB of checkpoints\n", flops_text(flops),
                         disk * 1e-9);
    text_ += time_text();
    text_ += "Nothing was trained (--dry-run).\n";
  }

  std::string time_text() const {
    double seconds = 0;
    bool known = true;
    for (const PlannedRun& run : plan_.runs) {
      if (run.finished || !run.obstacle.empty() || run.steps() == 0) continue;
      const auto speed = speed_.find(kind_of(run));
      known = known && speed != speed_.end();
      if (speed != speed_.end()) seconds += run.flops() * speed->second;
    }
    if (!known) return "No time is given: it is measured on images, and there is only a table.\n";
    return fmt::format(
        "about {} of training for what is left, from trial steps on this machine just now; "
        "evaluation comes on top\n",
        duration_text(seconds));
  }

  const Plan& plan_;
  const ReproduceOptions& options_;
  const std::map<std::string, double>& speed_;
  std::set<size_t> listed_;
  int64_t runs_before_sharing_ = 0;
  std::string text_;
};

}  // namespace

std::string plan_text(const Plan& plan, const ReproduceOptions& options,
                      const std::map<std::string, double>& speed) {
  return PlanText(plan, options, speed).text();
}

}  // namespace mono
