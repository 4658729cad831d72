// `train_rxrx embed`: the classifier's input for each test image, where cytomining's tools look for
// it: embeddings.npy (n, d) float32, not normalised, and metadata.csv with the same rows, by site
// id. With --parts train,test the images of training stand in the same files, as the bank of a
// nearest-neighbour classification (`evaluate --embeddings`); Metadata_Part says which is which.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kernels/base/suggest.h"
#include "train/commands.h"
#include "train/data/csv.h"
#include "train/device.h"
#include "train/evaluate/embedding_set.h"
#include "train/evaluate/inference.h"
#include "train/evaluate/npy.h"
#include "train/evaluate/trained_run.h"
#include "train/evaluate/view_features.h"
#include "train/run_directory.h"

namespace mono {
namespace {

struct Row {
  int site;  // index into Dataset::sites
  Part part;
};

std::string name_at(const std::vector<std::string>& names, int index) {
  return index < 0 ? "" : csv_field(names[static_cast<size_t>(index)]);
}

std::string metadata_csv(const Dataset& dataset, const std::vector<Row>& rows) {
  std::string csv =
      "site_id,Metadata_Plate,Metadata_Well,Metadata_Site,Metadata_Batch,Metadata_CellType,"
      "Metadata_Perturbation,Metadata_PerturbationId,Metadata_Compound,Metadata_moa,"
      "Metadata_WellType,Metadata_Dataset,Metadata_Part\n";
  for (const Row& row : rows) {
    const Site& site = dataset.sites[static_cast<size_t>(row.site)];
    csv +=
        fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{}\n", csv_field(site.site_id), site.plate,
                    csv_field(site.well), site.site, name_at(dataset.experiments, site.experiment),
                    csv_field(site.cell_type), csv_field(site.sirna),
                    site.sirna_id < 0 ? "" : fmt::to_string(site.sirna_id),
                    name_at(dataset.compounds, site.compound), name_at(dataset.moas, site.moa),
                    name_of(site.well_type), site.in_test ? "test" : "train", name_of(row.part));
  }
  return csv;
}

// The images of a part; of training all of them, of which a recipe may use a subset.
const std::vector<int>& sites_of(const Split& split, Part part) {
  if (part == Part::train) return split.bank.empty() ? split.train : split.bank;
  return part == Part::validation ? split.validation : split.test;
}

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
  const Device device = choose_device(options.compute.device, options.compute.threads);
  if (!options.statistics.empty()) parse_statistics_mode(options.statistics);
  const TrainedRun run = load_run(options.run, options.split, options.data, options.cache, device);
  const StatisticsMode mode = statistics_mode(options.statistics, run.setup->recipe);
  make_folder(options.out);

  const std::vector<Part> parts = parts_of(options, run);
  const Split& split = run.setup->split;
  std::vector<Row> rows;
  for (const Part part : parts)
    for (const int site : sites_of(split, part)) rows.push_back({site, part});
  std::ranges::sort(rows, {}, &Row::site);

  std::vector<float> embeddings;
  size_t width = 0;
  auto visit = [&](std::span<const int> batch, const ModelOutput& output) {
    width = static_cast<size_t>(output.embedding.shape().back());
    embeddings.resize(rows.size() * width);
    for (size_t n = 0; n < batch.size(); ++n) {
      const auto row = std::ranges::lower_bound(rows, batch[n], {}, &Row::site) - rows.begin();
      std::ranges::copy(row_of(output.embedding.value(), static_cast<int>(n)),
                        embeddings.begin() + row * static_cast<int64_t>(width));
    }
  };
  const bool views = run.setup->recipe.batch.form == BatchForm::views;
  if (views) {
    std::vector<int> sites;
    for (const Row& row : rows) sites.push_back(row.site);
    Features features = *view_features(*run.setup, *run.model, sites, "embed");
    width = static_cast<size_t>(features.width);
    embeddings = std::move(features.values);
  } else {
    // Part by part: an experiment's statistics are those of one part's images.
    for (const Part part : parts)
      forward_images(*run.setup, *run.model, sites_of(split, part), mode, "embed", visit);
  }

  write_npy((options.out / "embeddings.npy").string(), embeddings,
            static_cast<int64_t>(rows.size()), static_cast<int64_t>(width));
  write_file_durably((options.out / "metadata.csv").string(),
                     metadata_csv(run.setup->dataset, rows));
  std::string names;
  for (const Part part : parts)
    names += fmt::format("{}{} {}", names.empty() ? "" : " and ", sites_of(split, part).size(),
                         part == Part::train ? "training" : name_of(part));
  fmt::print("{} images, {} numbers each{}: {} and metadata.csv\n", names, width,
             views ? "" : fmt::format(", {} statistics", name_of(mode)),
             (options.out / "embeddings.npy").string());
  return 0;
}

}  // namespace mono
