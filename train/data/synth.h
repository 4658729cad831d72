// `train_rxrx data synth`: a synthetic screen, in the real tree and table form: like RxRx1
//
//   OUT/metadata.csv                                       rxrx.ai form, sorted by site_id
//   OUT/images/<EXP>/Plate<P>/<WELL>_s<S>_w<C>.png         8-bit grey, P x P pixels
//
// or like CPG0004
//
//   OUT/metadata.csv                                  train/data/cpg_tables.h, sorted by site
//   OUT/images/<PLATE>/rRRcCCfFFp01-ch<K>sk1fk1fl1.png     8-bit grey, P x P pixels
//
// Four steps, each in a file of its own: the layout of the screen (synth_design), a phenotype per
// siRNA and six channels of procedural cells (synth_cells), what experiment, plate and well do to
// them (synth_batch_effect), and the driver (synth.cpp), which renders the wells in parallel.
// The layout of CPG0004 is in synth_cpg.cpp.
//
// Every random number is Philox keyed by (seed, Purpose::synthetic) and counted by what it is for,
// so the same options give the same bytes for any number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace mono {

// The defaults are the smoke screen: what the quick start trains on. The real screen would be
// wells 308, experiments 51, sirnas 1138, image_size 512.
struct SynthOptions {
  std::filesystem::path out;  // must not exist, or be an empty folder
  std::string layout =
      "rxrx1";           // or cpg0004, where an experiment is a plate and a siRNA a compound
  int wells = 24;        // per plate, 4 plates an experiment, 2 sites a well; 3..308
  int experiments = 10;  // 2..99; about a third of them, one per cell type at least, is test
  int sirnas = 11;       // treatments and positive controls; EMPTY is one class more; 2..1138
  int image_size = 64;   // pixels a side, 32..1024; field of view and pixel size share the change
  uint64_t seed = 1;
  double batch_effect = 1.0;  // 0: none, 1: as in the real screen, up to 3: beyond it
  // RxRx1 only: the first so many of HUVEC, RPE, HEPG2, U2OS; 0: as many as there is room for.
  int cell_types = 0;
  // CPG0004 only: sites a well, 1..9; 0: 2. There, wells are a plate's (4..384), experiments are
  // plates (a multiple of 5, the replicates of a plate map), and sirnas are compounds.
  int fields = 0;
};

// Writes the screen; metadata.csv comes last, so a folder that has one is complete. Errors: usage
// (a value out of range, `out` not empty, too few wells for the siRNAs), storage (a failed write).
// Call it from the main thread: it owns parallel_for.
void synthesize_screen(const SynthOptions& options);

// The same for the command line: says what is made, shows progress, returns 0.
int run_data_synth(const SynthOptions& options);

}  // namespace mono
