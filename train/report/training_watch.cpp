#include "train/report/training_watch.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdio>

#include "kernels/base/error.h"
#include "models/durable_file.h"
#include "train/json.h"
#include "train/report/page.h"
#include "train/report/run_charts.h"

namespace mono::report {
namespace {

namespace fs = std::filesystem;

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The numbers of a row, under "group/key".
Scalars scalars_of(const JsonView& row, const std::string& group) {
  Scalars scalars;
  for (const auto& [key, value] : row.members()) {
    if (key == "step" || value.is_null()) continue;
    scalars.emplace_back(group + "/" + key, value.number());
  }
  return scalars;
}

}  // namespace

void write_plots(const fs::path& run) {
  const RunRecord record = read_run(run);
  const std::string name = record.recipe ? record.recipe->name : run.filename().string();
  Page page(name + ", seed " +
            (record.recipe ? fmt::to_string(record.recipe->seed) : std::string("unknown")));
  if (name.starts_with("smoke/")) page.badge("smoke scale", Badge::caution);
  if (!record.label.empty()) page.badge(record.label, Badge::caution);
  const bool done = record.total_steps > 0 && record.steps >= record.total_steps;
  page.badge(done ? "finished" : "training", done ? Badge::good : Badge::neutral);
  const std::vector<double>* loss = record.metrics.column("loss");
  if (!loss || loss->empty()) {
    page.lead("No step has been logged yet.");
  } else {
    page.lead(fmt::format(
        "Step {} of {}, epoch {}: loss {}.", record.steps,
        record.total_steps > 0 ? fmt::to_string(record.total_steps) : "an unknown number",
        std::isfinite(record.metrics.epoch.back())
            ? fmt::to_string(static_cast<int64_t>(record.metrics.epoch.back()))
            : "?",
        short_text(loss->back(), 4)));
    const std::vector<CurveGroup> groups = {{"", {&record}}};
    const CurveCharts curves = training_charts(groups);
    std::vector<Svg> svgs;
    for (const LineChart& chart : curves.charts) svgs.push_back(draw(chart));
    page.section("Training");
    page.figures(svgs, curves.points);
    const LineChart validation = validation_chart(groups);
    if (!validation.series.empty())
      page.figure(validation, "After epochs in which validation was due.");
  }
  for (const std::string& problem : record.problems) page.note(problem, Badge::caution);
  page.paragraph(
      "This page is written anew after every epoch; load it again to see more. "
      "`train_rxrx report` makes the full one.");
  write_file_durably((run / "plots.html").string(), page.html());
}

TrainingWatch::TrainingWatch(fs::path run, bool plots, bool tensorboard)
    : run_(std::move(run)),
      plots_(plots),
      metrics_{run_ / "metrics.jsonl"},
      validation_{run_ / "validation.jsonl"} {
  if (tensorboard)
    attempt([&] {
      events_ = std::make_unique<TensorboardFile>((run_ / "tensorboard").string());
      follow(metrics_, "train");
      follow(validation_, "validation");
    });
}

void TrainingWatch::attempt(const std::function<void()>& write) {
  try {
    write();
  } catch (const std::exception& error) {
    if (warned_ == error.what()) return;  // once is enough
    warned_ = error.what();
    fmt::print(stderr, "warning: {}; training goes on\n", error.what());
  }
}

void TrainingWatch::follow(Tail& log, const char* group) {
  std::error_code error;
  if (!fs::exists(log.path, error)) return;
  size_t size = 0;
  const FileDescriptor file(open_regular_file(log.path.string(), size));
  if (size <= log.read) return;
  std::string text(size - log.read, '\0');
  read_exactly(file.get(), log.path.string(), text.data(), text.size(), log.read);
  const size_t before = log.read;
  read_json_lines(
      text, log.path.string(),
      [&](const JsonView& row, size_t end) {
        events_->append(now(), row["step"].integer(), scalars_of(row, group));
        log.read = before + end;
        ++log.rows;
        return true;
      },
      log.rows + 1);
}

void TrainingWatch::step() {
  if (events_) attempt([&] { follow(metrics_, "train"); });
}

void TrainingWatch::epoch() {
  // Rows of steps that came late: after a full disk, several at once.
  if (events_) attempt([&] { follow(metrics_, "train"); });
  if (events_) attempt([&] { follow(validation_, "validation"); });
  if (plots_) attempt([&] { write_plots(run_); });
}

}  // namespace mono::report
