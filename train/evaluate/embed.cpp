// `train_rxrx embed`: the classifier's input for each test image, where cytomining's tools look for
// it: embeddings.npy (n, d) float32, not normalised, and metadata.csv with the same rows, by site
// id.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "train/commands.h"
#include "train/data/csv.h"
#include "train/device.h"
#include "train/evaluate/inference.h"
#include "train/evaluate/npy.h"
#include "train/evaluate/trained_run.h"
#include "train/run_directory.h"

namespace mono {
namespace {

std::string metadata_csv(const Dataset& dataset, const std::vector<int>& sites) {
  std::string csv =
      "site_id,Metadata_Plate,Metadata_Well,Metadata_Site,Metadata_Batch,Metadata_CellType,"
      "Metadata_Perturbation,Metadata_PerturbationId,Metadata_WellType,Metadata_Dataset\n";
  for (const int index : sites) {
    const Site& site = dataset.sites[static_cast<size_t>(index)];
    csv += fmt::format("{},{},{},{},{},{},{},{},{},{}\n", csv_field(site.site_id), site.plate,
                       csv_field(site.well), site.site,
                       csv_field(dataset.experiments[static_cast<size_t>(site.experiment)]),
                       csv_field(site.cell_type), csv_field(site.sirna),
                       site.sirna_id < 0 ? "" : fmt::to_string(site.sirna_id),
                       name_of(site.well_type), site.in_test ? "test" : "train");
  }
  return csv;
}

}  // namespace

int run_embed(const EmbedOptions& options) {
  const Device device = choose_device(options.compute.device, options.compute.threads);
  if (!options.statistics.empty()) parse_statistics_mode(options.statistics);
  const TrainedRun run = load_run(options.run, options.split, options.data, options.cache, device);
  const StatisticsMode mode = statistics_mode(options.statistics, run.setup->recipe);
  make_folder(options.out);

  std::vector<int> sites = run.sites;
  std::ranges::sort(sites);
  std::vector<float> embeddings;
  size_t width = 0;
  auto visit = [&](std::span<const int> batch, const ModelOutput& output) {
    width = static_cast<size_t>(output.embedding.shape().back());
    embeddings.resize(sites.size() * width);
    for (size_t n = 0; n < batch.size(); ++n) {
      const auto row = std::ranges::lower_bound(sites, batch[n]) - sites.begin();
      std::ranges::copy(row_of(output.embedding.value(), static_cast<int>(n)),
                        embeddings.begin() + row * static_cast<int64_t>(width));
    }
  };
  forward_images(*run.setup, *run.model, sites, mode, "embed", visit);

  write_npy((options.out / "embeddings.npy").string(), embeddings,
            static_cast<int64_t>(sites.size()), static_cast<int64_t>(width));
  write_file_durably((options.out / "metadata.csv").string(),
                     metadata_csv(run.setup->dataset, sites));
  fmt::print("{} {} images, {} numbers each, {} statistics: {} and metadata.csv\n", sites.size(),
             run.on_training_images ? "training" : "test", width, name_of(mode),
             (options.out / "embeddings.npy").string());
  return 0;
}

}  // namespace mono
