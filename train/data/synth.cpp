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
#include "train/data/synth_screen.h"

namespace mono {

void synth::check_range(const char* flag, int value, int least, int most) {
  if (value < least || value > most)
    fail(ErrorKind::usage, "{} {}: must be from {} to {}", flag, value, least, most);
}

namespace {

namespace fs = std::filesystem;
using namespace synth;

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    fail(ErrorKind::storage, "{}: cannot make the folder: {}", path.string(), error.message());
}

// Like RxRx1. Everything there is to know before the first pixel.
class RxrxScreen final : public SyntheticScreen {
 public:
  explicit RxrxScreen(const SynthOptions& options)
      : options_(options),
        design_(design_screen(options.wells, options.experiments, options.sirnas, options.seed,
                              options.cell_types)),
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

  int plates() const override { return static_cast<int>(plates_.size()); }
  int wells() const override { return options_.wells; }

  fs::path folder(int plate) const override {
    return options_.out / "images" / label(plate) / fmt::format("Plate{}", plate % kPlates + 1);
  }

  std::string label(int plate) const override {
    return design_.experiments[static_cast<size_t>(plate / kPlates)].name;
  }

  void write_well(int plate, int number) const override {
    const int64_t index = int64_t{plate} * options_.wells + number;
    const Well& well = design_.wells[static_cast<size_t>(index)];
    const CellType type = design_.experiments[static_cast<size_t>(well.experiment)].cell_type;
    const Batch batch =
        vary_well(plates_[static_cast<size_t>(plate)], stream(options_.seed, Draw::well, index));
    const Traits& phenotype = phenotypes_[static_cast<size_t>(well.sirna)];
    const Traits response = draw_response(well.sirna, type, options_.seed);
    Traits traits = batch.traits;
    for (size_t t = 0; t < kTraits; ++t) traits[t] += phenotype[t] * response[t];

    const PngInfo info{options_.image_size, options_.image_size, 1};
    for (int s = 0; s < kSites; ++s) {
      const int64_t site = index * kSites + s;
      const Field field = render_cells(type, traits, options_.image_size, options_.seed, site);
      const Image image = take_image(field, batch, options_.seed, site);
      for (size_t c = 0; c < kChannels; ++c)
        write_png(folder(plate) / fmt::format("{}_s{}_w{}.png", well.name, s + 1, c + 1), info,
                  image[c].data());
    }
  }

  std::string table() const override { return metadata_csv(design_); }

  std::string summary() const override {
    int test = 0;
    for (const Experiment& experiment : design_.experiments) test += experiment.test;
    return fmt::format(
        "{} experiments ({} train, {} test), {} wells, {} sites of 6 x {} x {} pixels\n"
        "{} classes: {} treatments, {} positive controls, EMPTY",
        design_.experiments.size(), design_.experiments.size() - static_cast<size_t>(test), test,
        design_.wells.size(), design_.wells.size() * kSites, options_.image_size,
        options_.image_size, design_.classes(), design_.treatments, design_.positive_controls);
  }

 private:
  SynthOptions options_;
  ScreenDesign design_;
  std::vector<Traits> phenotypes_;
  std::vector<Batch> plates_;
};

std::unique_ptr<SyntheticScreen> make_screen(const SynthOptions& options) {
  if (options.out.empty()) fail(ErrorKind::usage, "data synth: --out DIR is missing");
  check_range("--image-size", options.image_size, 32, 1024);
  if (!(options.batch_effect >= 0.0 && options.batch_effect <= 3.0))
    fail(ErrorKind::usage, "--batch-effect {}: must be from 0 (none) through 1 (as real) to 3",
         options.batch_effect);
  if (options.layout == "cpg0004") return make_cpg_screen(options);
  if (options.layout != "rxrx1")
    fail(ErrorKind::usage, "--layout '{}' is unknown; expected is rxrx1 or cpg0004",
         options.layout);
  if (options.fields != 0)
    fail(ErrorKind::usage, "--fields {}: is for --layout cpg0004; wells of RxRx1 have two sites",
         options.fields);
  check_range("--wells", options.wells, 3, kMaxWells);
  check_range("--experiments", options.experiments, 2, 99);
  check_range("--sirnas", options.sirnas, 2, 1138);
  check_range("--cell-types", options.cell_types, 0, kCellTypes);
  return std::make_unique<RxrxScreen>(options);
}

void write_table(const std::string& text, const fs::path& path) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) fail(ErrorKind::storage, "{}: cannot be written; is the disk full?", path.string());
}

// One line that is rewritten on a terminal; elsewhere a line an experiment.
void show_progress(const SyntheticScreen& screen, int plates_done) {
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const bool finished = plates_done == screen.plates();
  const std::string label = screen.label(plates_done - 1);
  if (terminal || finished || screen.label(plates_done) != label)
    fmt::print(stderr, "{}{:<9} {:>7} of {} wells{}", terminal ? "\r" : "", label,
               plates_done * screen.wells(), screen.plates() * screen.wells(),
               terminal && !finished ? "" : "\n");
  std::fflush(stderr);
}

std::unique_ptr<SyntheticScreen> synthesize(const SynthOptions& options, bool progress) {
  std::error_code error;
  if (fs::exists(options.out, error) &&
      !(fs::is_directory(options.out, error) && fs::is_empty(options.out, error)))
    fail(ErrorKind::usage,
         "--out {}: exists and is not an empty folder; name another, or remove it",
         options.out.string());
  std::unique_ptr<SyntheticScreen> screen = make_screen(options);
  for (int plate = 0; plate < screen->plates(); ++plate) {
    make_folder(screen->folder(plate));
    parallel_for(screen->wells(),
                 [&](int64_t well, int) { screen->write_well(plate, static_cast<int>(well)); });
    if (progress) show_progress(*screen, plate + 1);
  }
  write_table(screen->table(), options.out / "metadata.csv");
  return screen;
}

}  // namespace

void synthesize_screen(const SynthOptions& options) {
  synthesize(options, false);
}

int run_data_synth(const SynthOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const std::unique_ptr<SyntheticScreen> screen = synthesize(options, true);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{}: {}; seed {}, batch effect {}; {:.1f} s\n", options.out.string(),
             screen->summary(), options.seed, options.batch_effect, seconds);
  return 0;
}

}  // namespace mono
