// A faux-colour picture of a screen, for a person to look at: composites of sites of as many
// experiments as possible, a row per cell type (or per siRNA), and below them the channels of one.
//
// Colours and ranges of the composites are those of rxrx1-utils (Recursion): channel c shows
// x / hi_c, clipped at 1, times its colour; a composite is the sum over channels, clipped. The
// ranges are fixed, so that a difference in brightness is one of the screen; CPG0004's five
// channels have colours and ranges of their own, a screen of one's own has those of its
// screen.toml. Single channels are stretched, as their caption says.
#pragma once

#include "train/data/dataset.h"
#include "train/data/image_source.h"
#include "train/data/png.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mono {

struct Picture {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;  // (H,W,3)
  PngInfo info() const { return {width, height, 3}; }
};

// Text in a fixed font of 6 x 9 pixels a character, times `scale`; clipped at the border.
void draw_text(Picture& picture, int x, int y, int scale, const std::string& text);

// One site of a picture: all channels together, or one of them from its 0.5 to its 99.5 percentile.
struct MontageTile {
  int site = -1;     // index into Dataset::sites; -1: there is none, the tile stays empty
  int channel = -1;  // -1: all
  std::string caption;
};
struct MontageRow {
  std::string title;  // above the row; empty: none
  std::vector<MontageTile> tiles;
};
// Where composites are scaled: fixed (channel_displays), or from the 0.1 to the 99.9 percentile of
// each channel over all sites of the picture, so that they still compare.
enum class MontageScale { fixed, percentiles };

// Rows of square tiles of `tile` pixels. Error: usage where the picture would be too large.
Picture draw_grid(const Dataset& dataset, const ImageSource& images,
                  const std::vector<MontageRow>& rows, int tile, MontageScale scale);

struct MontageLayout {
  std::vector<std::string> sirna;  // rows; empty: a row per cell type, of negative controls
  int tile = 256;                  // pixels
  int columns = 6;                 // at most so many sites a row
};

// Throws Error(usage) for a siRNA that the screen lacks, Error(data) where no site is complete.
Picture draw_montage(const Dataset& dataset, const ImageSource& images,
                     const MontageLayout& layout);

}  // namespace mono
