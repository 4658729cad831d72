#include "train/data/synth.h"

#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <system_error>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "train/data/png.h"
#include "train/data/synth_batch_effect.h"
#include "train/data/synth_cells.h"
#include "train/data/synth_design.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using namespace synth;

void check_range(const char* flag, int value, int least, int most) {
  if (value < least || value > most)
    fail(ErrorKind::usage, "{} {}: must be from {} to {}", flag, value, least, most);
}

void check_options(const SynthOptions& options) {
  if (options.out.empty()) fail(ErrorKind::usage, "data synth: --out DIR is missing");
  check_range("--wells", options.wells, 3, kMaxWells);
  check_range("--experiments", options.experiments, 2, 99);
  check_range("--sirnas", options.sirnas, 2, 1138);
  check_range("--image-size", options.image_size, 32, 1024);
  if (!(options.batch_effect >= 0.0 && options.batch_effect <= 3.0))
    fail(ErrorKind::usage, "--batch-effect {}: must be from 0 (none) through 1 (as real) to 3",
         options.batch_effect);
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    fail(ErrorKind::storage, "{}: cannot make the folder: {}", path.string(), error.message());
}

// Everything there is to know before the first pixel.
class Screen {
 public:
  explicit Screen(const SynthOptions& options)
      : options_(options),
        design_(design_screen(options.wells, options.experiments, options.sirnas, options.seed)),
        phenotypes_(draw_phenotypes(options.sirnas, options.seed)) {
    // Site numbers select random streams: wells first, then the fields that set the exposures.
    const int64_t first_field = static_cast<int64_t>(design_.wells.size()) * kSites;
    const int experiments = static_cast<int>(design_.experiments.size());
    plates_.resize(static_cast<size_t>(experiments) * kPlates);
    parallel_for(experiments, [&](int64_t e, int) {
      const CellType type = design_.experiments[static_cast<size_t>(e)].cell_type;
      Batch batch = draw_experiment(type, static_cast<int>(e), options.batch_effect, options.seed);
      // The same fields for all experiments of a cell type: without batch effect their exposures
      // are equal to the bit.
      set_exposure(batch, type, options.image_size, options.seed,
                   first_field + static_cast<int>(type) * kExposureFields);
      for (int64_t p = 0; p < kPlates; ++p)
        plates_[static_cast<size_t>(e * kPlates + p)] = vary_plate(
            batch, options.batch_effect, stream(options.seed, Draw::plate, e * kPlates + p));
    });
  }

  const ScreenDesign& design() const { return design_; }

  fs::path plate_folder(const Well& well) const {
    return options_.out / "images" /
           design_.experiments[static_cast<size_t>(well.experiment)].name /
           fmt::format("Plate{}", well.plate + 1);
  }

  // Renders and writes the twelve images of a well.
  void write_well(int64_t index) const {
    const Well& well = design_.wells[static_cast<size_t>(index)];
    const CellType type = design_.experiments[static_cast<size_t>(well.experiment)].cell_type;
    const Batch batch =
        vary_well(plates_[static_cast<size_t>(well.experiment * kPlates + well.plate)],
                  stream(options_.seed, Draw::well, index));
    const Traits& phenotype = phenotypes_[static_cast<size_t>(well.sirna)];
    const Traits response = draw_response(well.sirna, type, options_.seed);
    Traits traits = batch.traits;
    for (size_t t = 0; t < kTraits; ++t) traits[t] += phenotype[t] * response[t];

    const fs::path folder = plate_folder(well);
    const PngInfo info{options_.image_size, options_.image_size, 1};
    for (int s = 0; s < kSites; ++s) {
      const int64_t site = index * kSites + s;
      const Field field = render_cells(type, traits, options_.image_size, options_.seed, site);
      const Image image = take_image(field, batch, options_.seed, site);
      for (size_t c = 0; c < kChannels; ++c)
        write_png(folder / fmt::format("{}_s{}_w{}.png", well.name, s + 1, c + 1), info,
                  image[c].data());
    }
  }

 private:
  SynthOptions options_;
  ScreenDesign design_;
  std::vector<Traits> phenotypes_;
  std::vector<Batch> plates_;
};

void write_table(const ScreenDesign& design, const fs::path& path) {
  std::ofstream file(path, std::ios::binary);
  file << metadata_csv(design);
  file.close();
  if (!file) fail(ErrorKind::storage, "{}: cannot be written; is the disk full?", path.string());
}

// One line that is rewritten on a terminal; elsewhere a line an experiment.
void show_progress(const Screen& screen, size_t wells_done) {
  const ScreenDesign& design = screen.design();
  const Experiment& experiment =
      design.experiments[static_cast<size_t>(design.wells[wells_done - 1].experiment)];
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const bool finished = wells_done == design.wells.size();
  if (terminal || finished ||
      design.wells[wells_done].experiment != design.wells[wells_done - 1].experiment)
    fmt::print(stderr, "{}{:<9} {:>7} of {} wells{}", terminal ? "\r" : "", experiment.name,
               wells_done, design.wells.size(), terminal && !finished ? "" : "\n");
  std::fflush(stderr);
}

Screen synthesize(const SynthOptions& options, bool progress) {
  check_options(options);
  std::error_code error;
  if (fs::exists(options.out, error) &&
      !(fs::is_directory(options.out, error) && fs::is_empty(options.out, error)))
    fail(ErrorKind::usage,
         "--out {}: exists and is not an empty folder; name another, or remove it",
         options.out.string());
  Screen screen(options);
  const std::vector<Well>& wells = screen.design().wells;
  const int64_t per_plate = options.wells;
  for (size_t first = 0; first < wells.size(); first += static_cast<size_t>(per_plate)) {
    make_folder(screen.plate_folder(wells[first]));
    parallel_for(per_plate,
                 [&](int64_t w, int) { screen.write_well(static_cast<int64_t>(first) + w); });
    if (progress) show_progress(screen, first + static_cast<size_t>(per_plate));
  }
  write_table(screen.design(), options.out / "metadata.csv");
  return screen;
}

}  // namespace

void synthesize_screen(const SynthOptions& options) {
  synthesize(options, false);
}

int run_data_synth(const SynthOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const Screen screen = synthesize(options, true);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const ScreenDesign& design = screen.design();
  int test = 0;
  for (const Experiment& experiment : design.experiments) test += experiment.test;
  fmt::print(
      "{}: {} experiments ({} train, {} test), {} wells, {} sites of 6 x {} x {} pixels\n"
      "{} classes: {} treatments, {} positive controls, EMPTY; seed {}, batch effect {}; {:.1f} "
      "s\n",
      options.out.string(), design.experiments.size(),
      design.experiments.size() - static_cast<size_t>(test), test, design.wells.size(),
      design.wells.size() * kSites, options.image_size, options.image_size, design.classes(),
      design.treatments, design.positive_controls, options.seed, options.batch_effect, seconds);
  return 0;
}

}  // namespace mono
