// `train_rxrx data synth`: a synthetic RxRx1-like screen, in the real tree and table form.
//
//   OUT/metadata.csv                                       rxrx.ai form, sorted by site_id
//   OUT/images/<EXP>/Plate<P>/<WELL>_s<S>_w<C>.png         8-bit grey, P x P pixels
//
// Four steps, each in a file of its own: the layout of the screen (synth_design), a phenotype per
// siRNA and six channels of procedural cells (synth_cells), what experiment, plate and well do to
// them (synth_batch_effect), and the driver (synth.cpp), which renders the wells in parallel.
//
// Every random number is Philox keyed by (seed, Purpose::synthetic) and counted by what it is for,
// so the same options give the same bytes for any number of threads.
#pragma once

#include <cstdint>
#include <filesystem>

namespace mono {

// The defaults are the smoke screen: what the quick start trains on. The real screen would be
// wells 308, experiments 51, sirnas 1138, image_size 512.
struct SynthOptions {
  std::filesystem::path out;  // must not exist, or be an empty folder
  int wells = 24;             // per plate, 4 plates an experiment, 2 sites a well; 3..308
  int experiments = 10;       // 2..99; about a third of them, one per cell type at least, is test
  int sirnas = 11;            // treatments and positive controls; EMPTY is one class more; 2..1138
  int image_size = 64;  // pixels a side, 32..1024; field of view and pixel size share the change
  uint64_t seed = 1;
  double batch_effect = 1.0;  // 0: none, 1: as in the real screen, up to 3: beyond it
};

// Writes the screen; metadata.csv comes last, so a folder that has one is complete. Errors: usage
// (a value out of range, `out` not empty, too few wells for the siRNAs), storage (a failed write).
// Call it from the main thread: it owns parallel_for.
void synthesize_screen(const SynthOptions& options);

// The same for the command line: says what is made, shows progress, returns 0.
int run_data_synth(const SynthOptions& options);

}  // namespace mono
