// How a vision transformer's position embedding, learnt on a grid of G x G patches, is resampled to
// another: bicubic, separable, as weights w(i, j) of grid point j for patch i along one axis.
//
// The implementations that checkpoints come from differ in the coordinates and in antialiasing:
//   cdcl   one factor sqrt(H W) / G for both axes, also for the coordinates
//   dino   (H + 0.1) / G and (W + 0.1) / G, also for the coordinates (so 6 patches are not 6 / 14)
//   deit   the coordinates of the sizes themselves, H / G and W / G
//   timm   likewise, with antialiasing (wider support when the grid shrinks, a = -1/2)
// All take the embedding as it is where the grid has G x G patches. Borders are clamped. Sources:
// PyTorch's upsample_bicubic2d; CDCL's and DINO's vision_transformer.py, DeiT's main.py, timm's
// pos_embed.py.
#pragma once

#include <cmath>

#include "kernels/base/host_device.h"

namespace mono {

enum class PositionRule { cdcl, dino, deit, timm };

struct PositionAxis {
  int grid, size;  // points learnt, patches wanted
  double scale;    // grid points a patch
  bool antialias;
};

inline PositionAxis position_axis(PositionRule rule, int grid, int size, int patches) {
  double factor = static_cast<double>(size) / grid;
  if (rule == PositionRule::cdcl) factor = std::sqrt(static_cast<double>(patches)) / grid;
  if (rule == PositionRule::dino) factor = (size + 0.1) / grid;
  return {grid, size, 1 / factor, rule == PositionRule::timm};
}

// Keys' cubic kernel.
MONO_HOST_DEVICE inline double cubic(double x, double a) {
  x = x < 0 ? -x : x;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((x - 5) * x + 8) * x * a - 4 * a;
  return 0;
}

MONO_HOST_DEVICE inline double position_weight(const PositionAxis& axis, int i, int j) {
  if (axis.antialias) {
    const double stretch = axis.scale > 1 ? axis.scale : 1, center = axis.scale * (i + 0.5);
    const double support = 2 * stretch;
    int first = static_cast<int>(center - support + 0.5);
    int end = static_cast<int>(center + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > axis.grid ? axis.grid : end;
    if (j < first || j >= end) return 0;
    double total = 0;
    for (int k = first; k < end; ++k) total += cubic((k + 0.5 - center) / stretch, -0.5);
    return cubic((j + 0.5 - center) / stretch, -0.5) / total;
  }
  const double at = axis.scale * (i + 0.5) - 0.5;
  const int base = static_cast<int>(floor(at));
  double weight = 0;
  for (int tap = base - 1; tap <= base + 2; ++tap) {
    const int clamped = tap < 0 ? 0 : tap >= axis.grid ? axis.grid - 1 : tap;
    if (clamped == j) weight += cubic(at - tap, -0.75);
  }
  return weight;
}

}  // namespace mono
