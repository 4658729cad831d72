// `train_rxrx reproduce`: an experiment of the catalogue, or all of a paper's.
//
//   OUT/runs/RECIPE/.../seed-N/     the trainings, shared by everything below OUT
//   OUT/rxrx1/table1/table.md       a result, and table.json
//   OUT/results.json                all results of the call
#include <fmt/format.h>

#include <algorithm>

#include "train/commands.h"
#include "train/data/synth.h"
#include "train/device.h"
#include "train/reproduce/execute.h"
#include "train/run_directory.h"
#include "train/signals.h"

namespace mono {
namespace {

namespace fs = std::filesystem;

// An order of methods that was asserted and did not come out. Between the kinds of errors (2 to 6)
// and 75 there is room.
constexpr int kAssertionFailed = 7;

// ---- the screens of a rehearsal ---------------------------------------------------------------

fs::path rehearsal_screen(const fs::path& out, const std::string& name, SynthOptions options) {
  options.out = out / "screens" / name;
  if (fs::exists(options.out / "metadata.csv")) return options.out;
  fmt::print("a synthetic screen for the rehearsal: {}\n", options.out.string());
  fs::remove_all(options.out);  // what was interrupted
  run_data_synth(options);
  return options.out;
}

// Screens that were not given are made: with all four cell types for RxRx1's experiments, with many
// HUVEC experiments and a strong batch effect for CDCL's.
ReproduceOptions with_screens(ReproduceOptions options) {
  if (!options.smoke || options.dry_run) return options;
  bool rxrx1 = false, cdcl = false, cpg0004 = false;
  for (const Experiment* experiment : find_experiments(options.table)) {
    cpg0004 |= experiment->screen == ScreenKind::cpg0004;
    (experiment->id.starts_with("cdcl/") ? cdcl : rxrx1) |= experiment->screen == ScreenKind::rxrx1;
  }
  if (options.data.empty() && rxrx1) {
    SynthOptions screen;
    screen.experiments = 16;
    screen.cell_types = 4;
    options.data = rehearsal_screen(options.out, "rxrx1", screen);
  }
  if (options.data.empty() && cdcl) {
    SynthOptions screen;
    screen.experiments = 18;
    screen.cell_types = 1;
    screen.batch_effect = 1.5;
    options.data = rehearsal_screen(options.out, "huvec", screen);
  }
  if (options.cpg0004.empty() && cpg0004) {
    SynthOptions screen;
    screen.layout = "cpg0004";
    options.cpg0004 = rehearsal_screen(options.out, "cpg0004", screen);
  }
  return options;
}

void check_options(const ReproduceOptions& options) {
  if (options.data.empty() && options.cpg0004.empty() && (!options.smoke || options.dry_run))
    fail(ErrorKind::usage, "--data is required{}",
         options.smoke ? " for --dry-run" : " (a rehearsal, --smoke, makes its own screens)");
  if (!options.dry_run && options.out.empty())
    fail(ErrorKind::usage, "reproduce: --out is required, the folder for the runs and the tables");
}

// ---- results ----------------------------------------------------------------------------------

void write_result(const fs::path& out, const Result& result) {
  const fs::path folder = out / result.experiment->id;
  make_folder(folder);
  write_file_durably((folder / "table.json").string(), result_json(result).text());
  write_file_durably((folder / "table.md").string(), result_markdown(result));
}

void write_results(const fs::path& out, const std::vector<Result>& results) {
  Json json = Json::object();
  json["format_version"] = 1;
  Json list = Json::array();
  for (const Result& result : results) list.push_back(result_json(result));
  json["results"] = list;
  write_file_durably((out / "results.json").string(), json.text());
}

// What was left out and what failed, and the exit code that follows.
int summarise(const Plan& plan, const Execution& execution, const std::vector<Result>& results) {
  int code = 0;
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    const RunOutcome& outcome = execution.runs[i];
    if (outcome.reason.empty()) continue;
    fmt::print("{}, {}: {}\n", plan.runs[i].recipe_name, plan.runs[i].place(), outcome.reason);
    if (outcome.failed && code == 0) code = static_cast<int>(*outcome.failed);
  }
  bool asserted = true;
  for (const Result& result : results) {
    if (result.failed() && code == 0) code = static_cast<int>(ErrorKind::data);
    for (const CheckResult& check : result.checks) {
      fmt::print("{}: {}\n", result.experiment->id, check_text(check));
      asserted = asserted && check.outcome != CheckResult::Outcome::fails;
    }
  }
  return code == 0 && !asserted ? kAssertionFailed : code;
}

}  // namespace

int run_reproduce(const ReproduceOptions& given) {
  check_options(given);
  const ReproduceOptions options = with_screens(given);
  const Plan plan = make_plan(options);
  const Device device = choose_device(options.compute.device, options.compute.threads);
  if (options.dry_run) {
    fmt::print("{}", plan_text(plan, options, measured_speed(plan, device)));
    return 0;
  }
  make_folder(options.out);
  const Execution execution = execute(plan, options);
  if (execution.interrupted) return static_cast<int>(ErrorKind::interrupted);

  const SignalCatcher signals;
  std::vector<Result> results;
  for (const PlannedExperiment& experiment : plan.experiments) {
    results.push_back(collect(plan, experiment, execution, device));
    write_result(options.out, results.back());
    fmt::print("\n{}", result_markdown(results.back()));
    std::fflush(stdout);
    if (!signals.caught()) continue;
    fmt::print("{}: the same call goes on with the tables\n", signal_name(signals.caught()));
    return static_cast<int>(ErrorKind::interrupted);
  }
  write_results(options.out, results);
  fmt::print("\n");
  const int code = summarise(plan, execution, results);
  fmt::print("written: {} and a folder for each experiment beside it\n",
             (options.out / "results.json").string());
  return code;
}

}  // namespace mono
