// Which crops of a pair of images a step shows the network, and how each is drawn.
//
//   views 0, 1       global crops: of the anchor and, across batches, of its partner
//   views 2, 3, ...  local crops: the first half of the anchor, the second half of the partner
// Without cross-batch training (PairRule::self) all are the anchor's.
//
// A view: RandomResizedCrop (ten tries of an area and a ratio of sides, log-uniform; else the whole
// image), vertical flip, horizontal flip, a turn by k quarters (k uniform in 0..3, so a quarter of
// the turns do nothing), a gain and a shift of each channel on the scale 0..1. Every value is a
// function of (seed, epoch, anchor, view), drawn without the C library's exp and log, whose last
// bits differ between machines.
//
// CDCL, SSL-DINO: the defaults (RxRx1). BYOL: local_crops = 0. Supervised: global_crops = 1,
// local_crops = 0, global scale 0.8..1.2. CPG0004: global scale 0.75..0.9.
// Source: CDCL's published code; albumentations 1.3 for the crop.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/base/philox.h"
#include "nn/functional/crop_views.h"

namespace mono {

struct CropRange {
  // Of the image's area; above 1 raises the share of whole images: 36 % for 0.9..1.1 of 256 x 256.
  double min_scale, max_scale;
  int side;  // of the square that a crop is resized to
};

struct ViewOptions {
  CropRange global{0.9, 1.1, 224}, local{0.3, 0.5, 112};
  int global_crops = 2, local_crops = 6;
  double min_ratio = 3.0 / 4, max_ratio = 4.0 / 3;       // width over height of a crop
  double flip = 0.5, quarter_turns = 0.5, colour = 0.5;  // probabilities; each flip by itself
  double gain_std = 0.1, shift_std = 0.1;                // of N(1, gain) and N(0, shift)
};

// Throws Error(usage) naming the value that makes no sense.
void check_view_options(const ViewOptions& options);

// For each view, global ones first, whether it is of the anchor (0) or of the partner (1).
std::vector<int> images_of_views(const ViewOptions& options, bool cross_batch);

// Draws one view: all of CropView but its image, and gain and shift of each channel (1 and 0 where
// colours stay). `view` counts through global and local views and decides the range of the crop.
CropView draw_view(const ViewOptions& options, int view, int height, int width, uint64_t seed,
                   int64_t epoch, int anchor, std::span<float> gain, std::span<float> shift);

// The pieces of draw_view.
struct CropBox {
  int y, x, h, w;
  bool operator==(const CropBox&) const = default;
};
CropBox draw_crop(Philox& random, const CropRange& range, double min_ratio, double max_ratio,
                  int height, int width);
// CropView::dihedral of a vertical flip, then a horizontal flip, then `quarters` turns
// counter-clockwise.
int dihedral_of(bool vertical, bool horizontal, int quarters);

// The middle square of an image, as evaluation sees it. Error(usage) where the image is smaller.
CropView centre_view(int image, int height, int width, int side);

}  // namespace mono
