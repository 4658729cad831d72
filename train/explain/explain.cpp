// `train_rxrx explain`: loads the run, measures, and writes the page and its numbers.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/suggest.h"
#include "train/commands.h"
#include "train/device.h"
#include "train/explain/explained.h"
#include "train/run_directory.h"
#include "train/shell_quote.h"

namespace mono {
namespace {

constexpr int kMostImages = 4000;  // in all: their features stay in memory

const std::vector<std::string>& subjects() {
  static const std::vector<std::string> names = {"adabn", "gradient-reversal", "centring"};
  return names;
}

void check_options(const ExplainOptions& options) {
  const auto& names = subjects();
  if (std::ranges::find(names, options.what) == names.end())
    fail(ErrorKind::usage, "explain: '{}' is none of adabn, gradient-reversal, centring{}",
         options.what, did_you_mean(options.what, names));
  if (options.images < 2)
    fail(ErrorKind::usage, "explain --images {}: an experiment's statistics need two images",
         options.images);
  if (!options.out.empty() && options.out.extension() != ".html")
    fail(ErrorKind::usage,
         "explain --out {}: names the page, FILE.html; its numbers go to FILE.json beside it",
         options.out.string());
}

std::string command_of(const ExplainOptions& options) {
  std::string command = "train_rxrx explain " + options.what;
  const auto add = [&](const char* flag, const std::string& value) {
    if (!value.empty()) command += fmt::format(" {} {}", flag, shell_quoted(value));
  };
  add("--run", options.run.string());
  add("--data", options.data.string());
  add("--cache", options.cache.string());
  add("--images", fmt::to_string(options.images));
  add("--out", options.out.string());
  return command;
}

Explained explanation_of(const ExplainOptions& options, const TrainedRun& run) {
  const std::string command = command_of(options);
  if (options.what == "adabn")
    return show_adabn(run, explain_adabn(run, options.images, kMostImages), command);
  if (options.what == "gradient-reversal")
    return show_gradient_reversal(run, explain_gradient_reversal(run, options.images, kMostImages),
                                  command);
  return show_centring(
      run, explain_centring(run, options.run.string(), options.images, kMostImages), command);
}

}  // namespace

int run_explain(const ExplainOptions& options) {
  check_options(options);
  const Device device = choose_device(options.compute.device, options.compute.threads);
  const TrainedRun run = load_run(options.run, "", options.data, options.cache, device);
  check_classes(run);
  const Explained result = explanation_of(options, run);
  const std::filesystem::path page =
      options.out.empty() ? options.run / "explain" / (options.what + ".html") : options.out;
  if (page.has_parent_path()) make_folder(page.parent_path());
  const std::filesystem::path numbers = std::filesystem::path(page).replace_extension(".json");
  write_file_durably(numbers.string(), result.numbers.text());
  write_file_durably(page.string(), result.html);
  fmt::print("{}\nwritten: {}, {}\n", result.text, page.string(), numbers.filename().string());
  return 0;
}

}  // namespace mono
