// The layout of a synthetic screen: which siRNA in which well of which plate, as in RxRx1.
//
// Four plates an experiment. Well B02 of each plate is EMPTY (untreated), each positive control is
// on every plate, and the treatments form four fixed groups, one to a plate; from experiment to
// experiment the groups rotate cyclically over the plates, and positions are drawn anew. At full
// size (308 wells, 1,138 siRNAs) that is 1 + 30 + 277 wells. A smaller screen has fewer positive
// controls, and wells that remain repeat the treatments of the plate's group in turn.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/philox.h"

namespace mono::synth {

enum class CellType : int { huvec, rpe, hepg2, u2os, a549 };
inline constexpr int kCellTypes = 4;  // of RxRx1: all but A549, which is CPG0004's
inline constexpr int kAllCellTypes = 5;
inline constexpr int kPlates = 4;
inline constexpr int kSites = 2;
inline constexpr int kRows = 14, kColumns = 22;  // B..O, 02..23
inline constexpr int kMaxWells = kRows * kColumns;

const char* name_of(CellType type);

// What a stream of random numbers is for: the `epoch` of its Philox counter.
enum class Draw : uint32_t {
  groups,      // permutation of the treatments
  rotation,    // first group of the first plate
  positions,   // sample: experiment, view: plate
  phenotype,   // sample: siRNA, view: candidate
  response,    // sample: siRNA, view: cell type
  experiment,  // sample: experiment
  plate,       // sample: 4 experiment + plate
  well,        // sample: well
  cells,       // sample: site
  texture,     // sample: site, view: noise field
  sensor,      // sample: site, view: channel
  layout,      // sample: plate map
  compound     // sample: compound
};
inline Philox stream(uint64_t seed, Draw draw, int64_t sample = 0, int view = 0) {
  return Philox(seed, Purpose::synthetic, static_cast<uint32_t>(draw),
                static_cast<uint32_t>(sample), static_cast<uint32_t>(view));
}

struct Experiment {
  std::string name;  // "HUVEC-01"
  CellType cell_type;
  bool test;
  std::array<int, kPlates> group_of_plate;
};

struct Well {
  int experiment;  // index into ScreenDesign::experiments
  int plate;       // 0..3
  std::string name;
  int sirna;  // class id
};

// Class ids as in RxRx1: treatments first, then positive controls, EMPTY last.
struct ScreenDesign {
  std::vector<Experiment> experiments;  // by name
  std::vector<Well> wells;              // by experiment, plate, name
  std::vector<int> group_of_treatment;  // 0..3
  int treatments = 0;
  int positive_controls = 0;

  int empty() const { return treatments + positive_controls; }  // class id of EMPTY
  int classes() const { return empty() + 1; }
  std::string sirna_name(int sirna) const;  // "syn0007", "EMPTY"
  const char* well_type(int sirna) const;
  std::string well_id(const Well& well) const;  // "HUVEC-01_1_B02"
};

// Positive controls among `sirnas`: 30 of 1,138, fewer of fewer (by the square root), at least one.
int positive_controls_for(int sirnas);

// `cell_types`: HUVEC, RPE, HEPG2 and U2OS, the first so many of them; 0: as the number of
// experiments allows. Throws Error(usage) where the numbers do not allow a screen.
ScreenDesign design_screen(int wells, int experiments, int sirnas, uint64_t seed,
                           int cell_types = 0);

// The text of metadata.csv: the columns of rxrx.ai v3, one row a site, sorted by site_id.
std::string metadata_csv(const ScreenDesign& design);

}  // namespace mono::synth
