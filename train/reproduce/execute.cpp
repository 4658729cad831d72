#include "train/reproduce/execute.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "train/progress.h"

namespace mono {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Executor {
 public:
  Executor(const Plan& plan, const ReproduceOptions& options, const SignalCatcher& signals)
      : plan_(plan), options_(options), signals_(signals) {}

  Execution execute() {
    execution_.runs.resize(plan_.runs.size());
    for (const PlannedRun& run : plan_.runs)
      if (is_to_do(run)) flops_left_ += run.flops();
    for (size_t i = 0; i < plan_.runs.size() && !execution_.interrupted; ++i) {
      go_to(i);
      execution_.interrupted |= signals_.caught() != 0;
    }
    return std::move(execution_);
  }

 private:
  static bool is_to_do(const PlannedRun& run) { return !run.finished && run.obstacle.empty(); }

  void go_to(size_t index) {
    const PlannedRun& run = plan_.runs[index];
    RunOutcome& outcome = execution_.runs[index];
    const std::string count = fmt::format("[{} of {}]", index + 1, plan_.runs.size());
    fmt::print("\n{} {}, {}\n", count, run.recipe_name, run.place());
    if (run.finished) {
      fmt::print("{} is there already: {}\n", count, run.folder.string());
      return;
    }
    if (!run.obstacle.empty())
      outcome.reason = "not run: " + run.obstacle;
    else if (run.after && !execution_.runs[*run.after].reason.empty())
      outcome.reason = fmt::format("not run: {}, where it starts, is not there",
                                   plan_.runs[*run.after].recipe_name);
    else
      train(run, count, outcome);
    if (!outcome.reason.empty()) fmt::print(stderr, "{} {}\n", count, outcome.reason);
    std::fflush(stdout);
  }

  void train(const PlannedRun& run, const std::string& count, RunOutcome& outcome) {
    const Screen& screen = plan_.screens.at(run.screen);
    TrainOptions train;
    train.recipe = run.recipe_name;
    train.sets = run.sets;
    train.data = screen.data;
    train.cache = screen.cache;
    train.out = run.folder;
    train.resume = true;
    train.compute = options_.compute;
    std::fflush(stdout);
    const auto start = Clock::now();
    try {
      const int code = run_train(train);
      execution_.interrupted = code == static_cast<int>(ErrorKind::interrupted);
      if (execution_.interrupted) return;
      MONO_CHECK(code == 0, "train returned {}", code);
    } catch (const Error& error) {
      outcome.reason = fmt::format("failed: {}", error.what());
      outcome.failed = error.kind();
    }
    const double seconds = seconds_since(start);
    flops_left_ -= run.flops();
    if (!outcome.reason.empty()) return;
    seconds_ += seconds;
    flops_done_ += run.flops();
    const bool estimable = flops_done_ > 0 && flops_left_ > 0;
    fmt::print("{} done in {}{}\n", count, duration_text(seconds),
               estimable ? fmt::format(", about {} of training left",
                                       duration_text(flops_left_ * seconds_ / flops_done_))
                         : "");
  }

  const Plan& plan_;
  const ReproduceOptions& options_;
  const SignalCatcher& signals_;
  Execution execution_;
  double flops_left_ = 0, flops_done_ = 0, seconds_ = 0;
};

}  // namespace

Execution execute(const Plan& plan, const ReproduceOptions& options, const SignalCatcher& signals) {
  return Executor(plan, options, signals).execute();
}

}  // namespace mono
