// `train_rxrx embed`: the classifier's input for each test image, where cytomining's tools look for
// it: embeddings.npy (n, d) float32, not normalised, and metadata.csv with the same rows, by site
// id. With --parts train,test the images of training stand in the same files, as the bank of a
// nearest-neighbour classification (`evaluate --embeddings`); Metadata_Part says which is which.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kernels/base/suggest.h"
#include "train/commands.h"
#include "train/evaluate/run_features.h"
#include "train/on_ranks.h"

namespace mono {
namespace {

// The parts that are asked for, each once; without any, what figures of the run are made of.
std::vector<Part> parts_of(const EmbedOptions& options, const TrainedRun& run) {
  if (options.parts.empty() && run.setup->recipe.batch.form == BatchForm::views) {
    std::vector<Part> parts;  // a bank is part of what figures are made of
    for (const Part part : {Part::train, Part::validation, Part::test})
      if (!sites_of(run.setup->split, part).empty()) parts.push_back(part);
    return parts;
  }
  if (options.parts.empty()) return {run.on_training_images ? Part::train : Part::test};
  const std::vector<std::string> names = {"train", "validation", "test"};
  std::set<Part> parts;
  for (const std::string& name : options.parts) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end())
      fail(ErrorKind::usage, "--parts: '{}' is none of train, validation, test{}", name,
           did_you_mean(name, names));
    const Part part = static_cast<Part>(found - names.begin());
    if (sites_of(run.setup->split, part).empty())
      fail(ErrorKind::usage, "--parts: the run's split has no {} images", name);
    parts.insert(part);
  }
  return {parts.begin(), parts.end()};
}

}  // namespace

int run_embed(const EmbedOptions& options) {
  return on_ranks([&](Communicator& ranks) {
    const Device device = choose_device(options.compute, ranks);
    if (!options.statistics.empty()) parse_statistics_mode(options.statistics);
    const TrainedRun run =
        load_run(options.run, options.split, options.data, options.cache, device, ranks);
    ranks.set_timeout(run.setup->recipe.ranks.timeout_s);
    const StatisticsMode mode = statistics_mode(options.statistics, run.setup->recipe);
    const std::vector<Part> parts = parts_of(options, run);
    const int width = write_embedding(run, parts, mode, options.out, ranks);
    std::string names;
    for (const Part part : parts)
      names += fmt::format("{}{} {}", names.empty() ? "" : " and ",
                           sites_of(run.setup->split, part).size(),
                           part == Part::train ? "training" : name_of(part));
    const bool views = run.setup->recipe.batch.form == BatchForm::views;
    fmt::print("{} images, {} numbers each{}: {} and metadata.csv\n", names, width,
               views ? "" : fmt::format(", {} statistics", name_of(mode)),
               (options.out / "embeddings.npy").string());
    return 0;
  });
}

}  // namespace mono
