#include "train/test_curve.h"

#include <fmt/format.h>

#include <algorithm>

#include "train/checkpoint.h"
#include "train/evaluate/image_features.h"

namespace mono {
namespace {

std::filesystem::path file_of(const std::filesystem::path& run) {
  return run / "test_curve.jsonl";
}

double accuracy_of(const RunSetup& setup, const std::vector<int>& answers) {
  int64_t images = 0, correct = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    const int label = setup.label[static_cast<size_t>(setup.split.test[i])];
    images += label >= 0;
    correct += label >= 0 && answers[i] == label;
  }
  if (images == 0)
    fail(ErrorKind::data,
         "{}: no test image has a class, so that there is no test accuracy to record; set "
         "test_curve.every_epochs = 0",
         setup.dataset.root.string());
  return static_cast<double>(correct) / static_cast<double>(images);
}

}  // namespace

TestCurve::TestCurve(const RunSetup& setup, const RunDirectory& run, Communicator& ranks,
                     int64_t done)
    : setup_(setup), ranks_(ranks) {
  if (setup.recipe.test_curve.every_epochs == 0) return;
  if (run.writes()) {
    log_.emplace(file_of(run.path()).string(), done);
    const std::vector<TestCurvePoint> before = read_test_curve(run.path());
    if (!before.empty()) recorded_ = before.back().step;
  }
  recorded_ = ranks.of_root(recorded_);
}

bool TestCurve::due(int64_t done, int64_t epoch_steps, int64_t total_steps) const {
  return setup_.recipe.test_curve.every_epochs > 0 && done > recorded_ &&
         (done == total_steps || done % (setup_.recipe.test_curve.every_epochs * epoch_steps) == 0);
}

std::optional<double> TestCurve::record(int64_t done, int64_t epoch, const Model& model,
                                        const std::function<bool()>& abandon) {
  std::vector<int> answers;
  if (!image_features(setup_, model, setup_.split.test,
                      {.task = "test curve",
                       .mode = statistics_mode({}, setup_.recipe),
                       .ranks = &ranks_,
                       .abandon = abandon},
                      &answers))
    return std::nullopt;
  Json row = Json::object();
  row["step"] = done;
  row["epoch"] = epoch;
  const double accuracy = accuracy_of(setup_, answers);
  row["accuracy"] = accuracy;
  recorded_ = done;
  if (!log_) return accuracy;
  rows_.push_back(std::move(row));
  write_rows();
  return accuracy;
}

void TestCurve::write_rows() {
  if (rows_.empty()) return;
  try {
    for (; !rows_.empty(); rows_.erase(rows_.begin())) log_->append(rows_.front());
    log_->sync();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage) throw;
    fmt::print(stderr, "warning: {}; the row of the test curve is kept and tried again\n",
               error.what());
  }
}

std::vector<TestCurvePoint> read_test_curve(const std::filesystem::path& run) {
  const std::filesystem::path file = file_of(run);
  std::vector<TestCurvePoint> points;
  if (!std::filesystem::exists(file)) return points;
  constexpr size_t kLimit = size_t{64} << 20;
  const std::string text = read_file(file.string(), kLimit);
  read_json_lines(text, file.string(), [&](const JsonView& row, size_t) {
    points.push_back({row["step"].integer(), row["epoch"].integer(), row["accuracy"].number()});
    return true;
  });
  return points;
}

bool has_test_curve(const std::filesystem::path& run) {
  const Recipe recipe = read_run_recipe(run);
  const int64_t every = recipe.test_curve.every_epochs, last = recipe.train.epochs;
  if (every == 0) return false;  // begun without
  const std::vector<TestCurvePoint> points = read_test_curve(run);
  const auto has = [&](int64_t epoch) {
    return std::ranges::find(points, epoch, &TestCurvePoint::epoch) != points.end();
  };
  for (int64_t epoch = every; epoch < last; epoch += every)
    if (!has(epoch)) return false;
  return has(last);
}

}  // namespace mono
