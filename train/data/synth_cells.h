// Procedural cells: six fluorescence channels of one field of view, before any microscope.
//
// Cells are scattered over the field, each with a nucleus (an ellipse) and a territory: a pixel
// belongs to the cell whose warped elliptical distance is smallest, and the margin between the
// smallest and the next is the distance to the cell's border. Each channel is then a formula in
// those distances, the cell's own coordinates and a few noise fields: chromatin, ER that fades away
// from the nucleus, actin cortex and fibres, nucleoli, mitochondrial specks, Golgi.
//
// What a siRNA does is a vector of traits, natural logarithms of multipliers of the cell type's
// own constants: 0 everywhere is an untreated cell.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "train/data/synth_design.h"

namespace mono::synth {

inline constexpr int kChannels = 6;

enum Trait : int {
  kNuclearSize,
  kNuclearElongation,
  kChromatinTexture,
  kDensity,
  kCellElongation,
  kErSpread,
  kErTexture,
  kFibres,
  kCortex,
  kNucleoliCount,
  kNucleoliContrast,
  kMitoSpread,
  kMitoCoverage,
  kGolgiSize,
  kGolgiAmount,
  kBinucleation,
  kGain1,  // kGain1 + c: brightness of channel c, which self-standardisation and batches hide
  kTraits = kGain1 + kChannels
};
using Traits = std::array<double, kTraits>;

// One phenotype per class, EMPTY (all zero) last. Each siRNA moves a few traits; of several
// candidates the one farthest from the phenotypes drawn before it is taken, so that no two classes
// of a screen coincide by chance.
std::vector<Traits> draw_phenotypes(int sirnas, uint64_t seed);

// How strongly a cell type answers to a siRNA, trait by trait; 1 on average.
Traits draw_response(int sirna, CellType type, uint64_t seed);

// Six planes of `size` x `size`, row by row; signal in units of the channel's mean over untreated
// cells, roughly.
struct Field {
  int size = 0;
  std::array<std::vector<float>, kChannels> planes;
};

// The side of a pixel in pixels of the real 512-pixel image (0.65 um at 10x or so): 1 at 512, and
// the square root of 512/size elsewhere, so that a small image has a smaller field of view and
// coarser pixels, and its cells are still cells.
double pixel_side(int image_size);

// Renders site number `site` (any number; it selects the random streams).
Field render_cells(CellType type, const Traits& traits, int image_size, uint64_t seed,
                   int64_t site);

// Smooth noise of zero mean and unit variance, roughly; `spacing` is the distance of its lattice
// points in pixels.
void fill_noise(std::vector<float>& plane, int size, double spacing, Philox random);

}  // namespace mono::synth
