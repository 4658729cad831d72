#include "train/data/synth_design.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/error.h"

namespace mono::synth {
namespace {

constexpr std::array<const char*, kAllCellTypes> kNames = {"HUVEC", "RPE", "HEPG2", "U2OS", "A549"};
constexpr std::array<int, kCellTypes> kRealExperiments = {24, 11, 11, 5};  // of the 51 in RxRx1
constexpr double kRealTestShare = 18.0 / 51.0;

// Experiments of each cell type in the proportions of RxRx1, by largest remainder. Every type
// needs an experiment to train on and one to test on, so a small screen has few types.
std::array<int, kCellTypes> experiments_by_type(int experiments, int types) {
  if (types == 0) types = experiments <= 5 ? 1 : experiments <= 12 ? 2 : experiments <= 20 ? 3 : 4;
  if (experiments < 2 * types)
    fail(ErrorKind::usage,
         "--experiments {}: {} cell types need {} at least, each to train on and to test on; raise "
         "it or lower --cell-types",
         experiments, types, 2 * types);
  const int real = std::accumulate(kRealExperiments.begin(), kRealExperiments.begin() + types, 0);
  std::array<int, kCellTypes> counts{};
  for (int t = 0; t < types; ++t) counts[t] = std::max(2, experiments * kRealExperiments[t] / real);
  for (int left = experiments - std::accumulate(counts.begin(), counts.end(), 0); left > 0;
       --left) {
    int most_short = 0;
    double shortfall = -1.0;
    for (int t = 0; t < types; ++t) {
      const double missing =
          static_cast<double>(experiments) * kRealExperiments[t] / real - counts[t];
      if (missing > shortfall) {
        shortfall = missing;
        most_short = t;
      }
    }
    ++counts[most_short];
  }
  return counts;
}

// The names of the first `wells` wells of a plate: a block whose corner is B02, as square as the
// plate is. Row by row.
std::vector<std::string> well_names(int wells) {
  const int columns = std::min(
      kColumns,
      static_cast<int>(std::ceil(std::sqrt(static_cast<double>(wells) * kColumns / kRows))));
  std::vector<std::string> names;
  for (int i = 0; i < wells; ++i)
    names.push_back(fmt::format("{}{:02}", static_cast<char>('B' + i / columns), 2 + i % columns));
  return names;
}

// The siRNAs of one plate in order of position: EMPTY in B02, the rest shuffled.
std::vector<int> plate_layout(const ScreenDesign& design, int group, int wells, Philox& random) {
  std::vector<int> members, content;
  for (int t = 0; t < design.treatments; ++t)
    if (design.group_of_treatment[t] == group) members.push_back(t);
  for (int c = 0; c < design.positive_controls; ++c) content.push_back(design.treatments + c);
  if (members.empty()) members = content;  // fewer than four treatments: this plate has controls
  random.shuffle(members);                 // so that leftover wells fall to other members each time
  for (size_t i = 0; static_cast<int>(content.size()) < wells - 1; ++i)
    content.push_back(members[i % members.size()]);
  random.shuffle(content);
  content.insert(content.begin(), design.empty());
  return content;
}

void add_experiments(ScreenDesign& design, int experiments, int cell_types, uint64_t seed) {
  const std::array<int, kCellTypes> counts = experiments_by_type(experiments, cell_types);
  const int first = static_cast<int>(stream(seed, Draw::rotation).below(kPlates));
  int index = 0;
  for (const CellType type : {CellType::hepg2, CellType::huvec, CellType::rpe, CellType::u2os}) {
    const int count = counts[static_cast<int>(type)];
    const int test = std::max(1, static_cast<int>(std::lround(count * kRealTestShare)));
    for (int i = 0; i < count; ++i, ++index) {
      Experiment experiment{
          fmt::format("{}-{:02}", name_of(type), i + 1), type, i >= count - test, {}};
      for (int plate = 0; plate < kPlates; ++plate)
        experiment.group_of_plate[plate] = (first + index + plate) % kPlates;
      design.experiments.push_back(experiment);
    }
  }
}

}  // namespace

const char* name_of(CellType type) {
  return kNames[static_cast<size_t>(type)];
}

std::string ScreenDesign::sirna_name(int sirna) const {
  return sirna == empty() ? "EMPTY" : fmt::format("syn{:04}", sirna);
}

const char* ScreenDesign::well_type(int sirna) const {
  return sirna == empty()      ? "negative_control"
         : sirna >= treatments ? "positive_control"
                               : "treatment";
}

std::string ScreenDesign::well_id(const Well& well) const {
  return fmt::format("{}_{}_{}", experiments[static_cast<size_t>(well.experiment)].name,
                     well.plate + 1, well.name);
}

int positive_controls_for(int sirnas) {
  return std::max(1, static_cast<int>(std::lround(30.0 * std::sqrt(sirnas / 1138.0))));
}

ScreenDesign design_screen(int wells, int experiments, int sirnas, uint64_t seed, int cell_types) {
  ScreenDesign design;
  design.positive_controls = positive_controls_for(sirnas);
  design.treatments = sirnas - design.positive_controls;
  const int largest_group = (design.treatments + kPlates - 1) / kPlates;
  const int needed = 1 + design.positive_controls + largest_group;
  if (wells < needed)
    fail(ErrorKind::usage,
         "--wells {}: {} siRNAs need {} wells on each of the {} plates (EMPTY, {} positive "
         "controls, {} treatments); raise --wells or lower --sirnas",
         wells, sirnas, needed, kPlates, design.positive_controls, largest_group);

  std::vector<int> order(static_cast<size_t>(design.treatments));
  std::iota(order.begin(), order.end(), 0);
  Philox random = stream(seed, Draw::groups);
  random.shuffle(order);
  design.group_of_treatment.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    design.group_of_treatment[static_cast<size_t>(order[i])] = static_cast<int>(i) % kPlates;

  add_experiments(design, experiments, cell_types, seed);
  const std::vector<std::string> names = well_names(wells);
  for (int e = 0; e < experiments; ++e)
    for (int plate = 0; plate < kPlates; ++plate) {
      Philox positions = stream(seed, Draw::positions, e, plate);
      const int group = design.experiments[static_cast<size_t>(e)].group_of_plate[plate];
      const std::vector<int> layout = plate_layout(design, group, wells, positions);
      for (int w = 0; w < wells; ++w)
        design.wells.push_back({e, plate, names[static_cast<size_t>(w)], layout[w]});
    }
  return design;
}

std::string metadata_csv(const ScreenDesign& design) {
  std::string csv =
      "site_id,well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,sirna_id\n";
  // Experiments, plates and wells are in order of name already, and that is the order of site_id.
  for (const Well& well : design.wells) {
    const Experiment& experiment = design.experiments[static_cast<size_t>(well.experiment)];
    const std::string id = design.well_id(well);
    for (int site = 1; site <= kSites; ++site)
      csv += fmt::format("{}_{},{},{},{},{},{},{},{},{},{},{}\n", id, site, id,
                         name_of(experiment.cell_type), experiment.test ? "test" : "train",
                         experiment.name, well.plate + 1, well.name, site,
                         design.well_type(well.sirna), design.sirna_name(well.sirna), well.sirna);
  }
  return csv;
}

}  // namespace mono::synth
