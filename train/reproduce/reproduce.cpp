// `train_rxrx reproduce`: an experiment of the catalogue, or all of a paper's.
//
//   OUT/runs/RECIPE/.../seed-N/     the trainings, shared by everything below OUT
//   OUT/rxrx1/table1/table.md       a result, and table.json
//   OUT/report.html, results.json   all results of the call
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "train/commands.h"
#include "train/data/commands.h"
#include "train/data/synth.h"
#include "train/device.h"
#include "train/reproduce/command_text.h"
#include "train/reproduce/execute.h"
#include "train/reproduce/pictures.h"
#include "train/reproduce/results_page.h"
#include "train/run_directory.h"
#include "train/setup.h"
#include "train/signals.h"
#include "train/version.h"

namespace mono {
namespace {

namespace fs = std::filesystem;

// An order of methods that was asserted and did not come out. Between the kinds of errors (2 to 6)
// and 75 there is room.
constexpr int kAssertionFailed = 7;

// ---- the screens of a rehearsal ---------------------------------------------------------------

// Its folder and its cache, made unless they are there. Decoding such small PNG files at each read
// would take a quarter of a training.
std::pair<fs::path, fs::path> rehearsal_screen(const fs::path& out, const std::string& name,
                                               SynthOptions options) {
  const fs::path data = out / "screens" / name, cache = out / "screens" / (name + ".cache");
  if (!fs::exists(data / "metadata.csv")) {
    fmt::print("a synthetic screen for the rehearsal: {}\n", data.string());
    fs::remove_all(data);  // what was interrupted
    fs::remove(cache);     // of another screen
    options.out = data;
    run_data_synth(options);
  }
  if (!fs::exists(cache)) {
    PackOptions pack;
    pack.data = data;
    pack.out = cache;
    pack.compare = false;
    run_data_pack(pack);
  }
  return {data, cache};
}

// Screens that were not given are made: with all four cell types for RxRx1's experiments, with many
// HUVEC experiments and a strong batch effect for CDCL's.
ReproduceOptions with_screens(ReproduceOptions options) {
  if (!options.smoke || options.dry_run) return options;
  bool rxrx1 = false, cdcl = false, cpg0004 = false;
  for (const Experiment* experiment : find_experiments(options.table)) {
    cpg0004 |= experiment->screen == ScreenKind::cpg0004;
    (experiment->cdcl ? cdcl : rxrx1) |= experiment->screen == ScreenKind::rxrx1;
  }
  if (options.data.empty() && rxrx1) {
    SynthOptions screen;
    screen.experiments = 16;
    screen.cell_types = 4;
    std::tie(options.data, options.cache) = rehearsal_screen(options.out, "rxrx1", screen);
  }
  if (options.data.empty() && cdcl) {
    SynthOptions screen;
    screen.experiments = 27;
    screen.wells = 16;
    screen.cell_types = 1;
    screen.batch_effect = 1.5;
    std::tie(options.data, options.cache) = rehearsal_screen(options.out, "huvec", screen);
  }
  if (options.cpg0004.empty() && cpg0004) {
    SynthOptions screen;
    screen.layout = "cpg0004";
    std::tie(options.cpg0004, options.cpg0004_cache) =
        rehearsal_screen(options.out, "cpg0004", screen);
  }
  return options;
}

void check_options(const ReproduceOptions& options) {
  if (options.data.empty() && options.cpg0004.empty() && (!options.smoke || options.dry_run))
    fail(ErrorKind::usage, "--data is required{}",
         options.smoke ? " for --dry-run: the screen, or a folder with its metadata.csv alone"
                       : " (a rehearsal, --smoke, makes its own screens)");
  if (options.data.empty() && !options.cache.empty())
    fail(ErrorKind::usage, "--cache {}: belongs to --data, which is not given",
         options.cache.string());
  if (options.cpg0004.empty() && !options.cpg0004_cache.empty())
    fail(ErrorKind::usage, "--cpg0004-cache {}: belongs to --cpg0004, which is not given",
         options.cpg0004_cache.string());
  if (!options.dry_run && options.out.empty())
    fail(ErrorKind::usage, "reproduce: --out is required, the folder for the runs and the tables");
}

// ---- results ----------------------------------------------------------------------------------

// The table of an experiment and its picture, in OUT/ID.
ShownResult show_experiment(const Plan& plan, const PlannedExperiment& planned,
                            const Execution& execution, const fs::path& out, Device device,
                            const SignalCatcher& signals) {
  ShownResult shown{collect(plan, planned, execution, device, signals), {}};
  Result& result = shown.result;
  const fs::path folder = out / result.experiment->id;
  make_folder(folder);
  if (has_picture(*result.experiment)) {
    try {
      shown.figure = picture_of(plan, planned, execution, result, device);
      for (const fs::path& file : report::write_figure(*shown.figure, folder))
        if (file.extension() != ".json") result.pictures.push_back(file.filename().string());
      result.caption = shown.figure->caption;
    } catch (const NoPicture& reason) {
      result.no_picture = reason.what();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::storage) throw;
      result.no_picture = error.what();
      result.picture_failed = error.kind();
    }
  }
  write_file_durably((folder / "table.json").string(), result_json(result).text());
  write_file_durably((folder / "table.md").string(), result_markdown(result));
  return shown;
}

void write_all(const ReproduceOptions& options, const Plan& plan,
               const std::vector<ShownResult>& results) {
  Json json = Json::object();
  json["format_version"] = 1;
  json["command"] = command_text(options);
  Json list = Json::array();
  for (const ShownResult& shown : results) list.push_back(result_json(shown.result));
  json["results"] = list;
  write_file_durably((options.out / "results.json").string(), json.text());

  std::vector<std::pair<std::string, std::string>> facts = {
      {"program",
       fmt::format("{} ({}), {}", program_version(), program_commit(), instruction_set())},
      {"trainings", fmt::to_string(plan.runs.size())}};
  for (const auto& [kind, screen] : plan.screens)
    facts.emplace_back("screen",
                       fmt::format("{}: {} experiments, {} classes, {} sites", screen.data.string(),
                                   screen.dataset.experiments.size(), screen.dataset.num_classes,
                                   screen.dataset.sites.size()));
  write_file_durably((options.out / "report.html").string(),
                     results_page(options.table, results, command_text(options), facts));
}

// What was left out and what failed, and the exit code that follows.
int summarise(const Plan& plan, const Execution& execution,
              const std::vector<ShownResult>& results) {
  int code = 0;
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    const RunOutcome& outcome = execution.runs[i];
    if (outcome.reason.empty()) continue;
    fmt::print("{}, {}: {}\n", plan.runs[i].recipe_name, plan.runs[i].place(), outcome.reason);
    if (outcome.failed && code == 0) code = static_cast<int>(*outcome.failed);
  }
  bool asserted = true;
  for (const auto& [result, figure] : results) {
    if (const auto failed = result.failed(); failed && code == 0) code = static_cast<int>(*failed);
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
  const SignalCatcher signals;
  for (const PlannedRun& run : plan.runs)  // before hours of others
    if (!run.finished && run.obstacle.empty()) check_start(run.recipe);
  const Execution execution = execute(plan, options, signals);
  if (execution.interrupted) return static_cast<int>(ErrorKind::interrupted);

  std::vector<ShownResult> results;
  for (const PlannedExperiment& planned : plan.experiments) {
    results.push_back(show_experiment(plan, planned, execution, options.out, device, signals));
    fmt::print("\n{}", result_markdown(results.back().result));
    std::fflush(stdout);
    if (!signals.caught()) continue;
    fmt::print("{}: the same call goes on with the tables\n", signal_name(signals.caught()));
    return static_cast<int>(ErrorKind::interrupted);
  }
  write_all(options, plan, results);
  fmt::print("\n");
  const int code = summarise(plan, execution, results);
  fmt::print("written: {}, results.json and a folder for each experiment beside it\n",
             (options.out / "report.html").string());
  return code;
}

}  // namespace mono
