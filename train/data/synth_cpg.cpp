// A synthetic screen like CPG0004: plate maps of compounds, five plates of each, and a batch effect
// on every plate.
//
// A compound belongs to one map and has the same well on each of its five plates, at several doses
// as far as there are wells: 10 uM first. Three compounds or so share a mechanism of action: the
// mechanism decides most of the phenotype, the compound the rest, and the dose how much of both
// there is. An eighth of the wells, two at least, and what is left over are DMSO.
//
// Plates differ as RxRx1's experiments do (synth_batch_effect). The first is besides brighter than
// the others by two fifths in all channels but mitochondria, as the real SQ00015198 is.
//
// The five channels are made of the six stains of synth_cells: AGP is actin with Golgi.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "train/data/cpg_tables.h"
#include "train/data/dataset.h"
#include "train/data/png.h"
#include "train/data/synth.h"
#include "train/data/synth_batch_effect.h"
#include "train/data/synth_cells.h"
#include "train/data/synth_screen.h"

namespace mono::synth {
namespace {

namespace fs = std::filesystem;

constexpr int kRowsOfPlate = 16, kColumnsOfPlate = 24;
constexpr int kCompoundsPerMoa = 3;
constexpr double kOwnShare = 0.35;  // of a compound's own phenotype beside its mechanism's
constexpr double kBrightPlate = 1.4;
constexpr double kGolgiInAgp = 0.5;
constexpr std::array<int, 5> kStains = {0, 1, 3, 2, 4};  // of DNA, ER, RNA, AGP, mitochondria
constexpr int kActin = 2, kGolgi = 5, kMito = 4;
// Levels in the order in which wells are given to them, and the strength of their effect.
constexpr std::array<int, 7> kLevelOrder = {6, 7, 5, 4, 3, 2, 1};
constexpr std::array<double, 8> kStrength = {0, 0.03, 0.08, 0.2, 0.45, 0.75, 1.0, 1.15};

struct MapWell {
  std::string name;   // "A01"
  int compound = -1;  // -1: DMSO
  int level = 0;
};

// The wells of a plate: a block whose corner is A01, as square as the plate is.
std::vector<std::string> names_of_wells(int wells) {
  const int columns = std::min(
      kColumnsOfPlate,
      static_cast<int>(std::ceil(std::sqrt(wells * 1.0 * kColumnsOfPlate / kRowsOfPlate))));
  std::vector<std::string> names;
  for (int i = 0; i < wells; ++i)
    names.push_back(fmt::format("{}{:02}", static_cast<char>('A' + i / columns), 1 + i % columns));
  return names;
}

class CpgScreen final : public SyntheticScreen {
 public:
  explicit CpgScreen(const SynthOptions& options) : options_(options) {
    if (options_.fields == 0) options_.fields = 2;
    if (options.cell_types != 0)
      fail(ErrorKind::usage, "--cell-types {}: is for --layout rxrx1; CPG0004 has A549",
           options.cell_types);
    check_range("--fields", options_.fields, 1, kCpgDesign.sites);
    check_range("--wells", options.wells, 4, kRowsOfPlate * kColumnsOfPlate);
    check_range("--experiments", options.experiments, kMaxReplicate, 140);
    check_range("--sirnas", options.sirnas, 2, 2000);
    if (options.experiments % kMaxReplicate != 0)
      fail(ErrorKind::usage,
           "--experiments {}: with --layout cpg0004 these are plates, {} of each plate map; give a "
           "multiple of {}",
           options.experiments, kMaxReplicate, kMaxReplicate);
    design_maps();
    draw_compounds();
    draw_plates();
  }

  int plates() const override { return options_.experiments; }
  int wells() const override { return options_.wells; }
  fs::path folder(int plate) const override { return options_.out / "images" / label(plate); }
  std::string label(int plate) const override { return fmt::format("SYN{:05}", plate + 1); }

  void write_well(int plate, int number) const override {
    const MapWell& well = maps_[map_of(plate)][static_cast<size_t>(number)];
    const int64_t index = int64_t{plate} * options_.wells + number;
    const Batch batch =
        vary_well(batches_[static_cast<size_t>(plate)], stream(options_.seed, Draw::well, index));
    Traits traits = batch.traits;
    if (well.compound >= 0)
      for (size_t t = 0; t < kTraits; ++t)
        traits[t] += kStrength[static_cast<size_t>(well.level)] *
                     compounds_[static_cast<size_t>(well.compound)][t];
    const PngInfo info{options_.image_size, options_.image_size, 1};
    for (int f = 0; f < options_.fields; ++f) {
      const int64_t site = index * kCpgDesign.sites + f;
      const Field field =
          render_cells(CellType::a549, traits, options_.image_size, options_.seed, site);
      const Image image = take_image(field, batch, options_.seed, site);
      for (size_t c = 0; c < kStains.size(); ++c)
        write_png(
            folder(plate) / fmt::format("r{:02}c{}f{:02}p01-ch{}sk1fk1fl1.png",
                                        well.name[0] - 'A' + 1, well.name.substr(1), f + 1, c + 1),
            info, image[static_cast<size_t>(kStains[c])].data());
    }
  }

  std::string table() const override {
    std::string csv = "site_id,plate,plate_map,replicate,well,site,compound,dose,moa\n";
    for (int plate = 0; plate < plates(); ++plate)
      for (const MapWell& well : maps_[map_of(plate)])
        for (int f = 1; f <= options_.fields; ++f) {
          csv +=
              fmt::format("{}_1_{}_{},{},SYN-MAP-{:02},{},{},{},", label(plate), well.name, f,
                          label(plate), map_of(plate) + 1, plate % kMaxReplicate + 1, well.name, f);
          csv += well.compound < 0
                     ? fmt::format("{},,{}\n", kDmso, kNoMoa)
                     : fmt::format("CPD-{:04},{},mechanism {:02}\n", well.compound + 1,
                                   kDoseLevels[well.level - 1], moa_of(well.compound) + 1);
        }
    return csv;
  }

  std::string summary() const override {
    const int sites = plates() * options_.wells * options_.fields;
    return fmt::format(
        "{} plates of {} maps, {} wells, {} sites of 5 x {} x {} pixels\n{} compounds at {} "
        "dose(s), "
        "{} mechanisms of action, DMSO",
        plates(), maps_.size(), plates() * options_.wells, sites, options_.image_size,
        options_.image_size, options_.sirnas, doses_, moas());
  }

 private:
  static size_t map_of(int plate) { return static_cast<size_t>(plate / kMaxReplicate); }
  int moas() const { return (options_.sirnas + kCompoundsPerMoa - 1) / kCompoundsPerMoa; }
  int moa_of(int compound) const { return compound / kCompoundsPerMoa; }

  void design_maps() {
    const int maps = options_.experiments / kMaxReplicate;
    const int compounds = (options_.sirnas + maps - 1) / maps;  // of the fullest map
    const int dmso = std::max(2, options_.wells / 8);
    doses_ = std::min(static_cast<int>(kLevelOrder.size()), (options_.wells - dmso) / compounds);
    if (doses_ < 1)
      fail(ErrorKind::usage,
           "--wells {}: {} compounds on {} plate map(s) need {} wells on each plate ({} of DMSO); "
           "raise --wells or --experiments, or lower --sirnas",
           options_.wells, options_.sirnas, maps, compounds + dmso, dmso);
    const std::vector<std::string> names = names_of_wells(options_.wells);
    for (int m = 0; m < maps; ++m) {
      std::vector<MapWell> content;
      // Compounds of one mechanism are spread over the maps.
      for (int c = m; c < options_.sirnas; c += maps)
        for (int d = 0; d < doses_; ++d)
          content.push_back({"", c, kLevelOrder[static_cast<size_t>(d)]});
      content.resize(static_cast<size_t>(options_.wells));
      stream(options_.seed, Draw::layout, m).shuffle(content);
      for (size_t w = 0; w < content.size(); ++w) content[w].name = names[w];
      maps_.push_back(std::move(content));
    }
  }

  void draw_compounds() {
    const std::vector<Traits> mechanisms = draw_phenotypes(moas(), options_.seed);
    for (int c = 0; c < options_.sirnas; ++c) {
      const Traits& mechanism = mechanisms[static_cast<size_t>(moa_of(c))];
      const Traits response = draw_response(c, CellType::a549, options_.seed);
      Philox random = stream(options_.seed, Draw::compound, c);
      Traits traits{};
      for (size_t t = 0; t < kTraits; ++t) {
        // The compound's own part is another mechanism's movement, weaker and of either sign.
        const size_t other = random.below(static_cast<uint32_t>(mechanisms.size()));
        const double own = (random.uniform() < 0.5 ? -kOwnShare : kOwnShare) * mechanisms[other][t];
        traits[t] = mechanism[t] * response[t] + own;
      }
      compounds_.push_back(traits);
    }
  }

  void draw_plates() {
    batches_.resize(static_cast<size_t>(plates()));
    const int64_t first_field =
        int64_t{plates()} * options_.wells * static_cast<int64_t>(kCpgDesign.sites);
    parallel_for(plates(), [&](int64_t p, int) {
      Batch batch = draw_experiment(CellType::a549, static_cast<int>(p), options_.batch_effect,
                                    options_.seed);
      batch.optics.mix[kActin][kGolgi] += static_cast<float>(kGolgiInAgp);
      set_exposure(batch, CellType::a549, options_.image_size, options_.seed, first_field);
      const auto brighter = static_cast<float>(std::pow(kBrightPlate, options_.batch_effect));
      for (size_t c = 0; p == 0 && c < kChannels; ++c)
        if (c != kMito) {
          batch.exposure.gain[c] *= brighter;
          batch.exposure.offset[c] *= brighter;
        }
      batches_[static_cast<size_t>(p)] = batch;
    });
  }

  SynthOptions options_;
  int doses_ = 0;
  std::vector<std::vector<MapWell>> maps_;
  std::vector<Traits> compounds_;
  std::vector<Batch> batches_;
};

}  // namespace

std::unique_ptr<SyntheticScreen> make_cpg_screen(const SynthOptions& options) {
  return std::make_unique<CpgScreen>(options);
}

}  // namespace mono::synth
