// Where a row of the output lies in a plane: shared by the CPU and the GPU. Private to this folder.
#pragma once

#include "kernels/augment/augment.h"
#include "kernels/base/host_device.h"

namespace mono {

// Byte offset, inside a plane of width W, of output pixel (h, 0), and the step to the next column.
struct SourceRow {
  int64_t offset, step;
};

MONO_HOST_DEVICE inline SourceRow source_row(int P, int64_t W, const AugmentImage& image, int h) {
  const int last = P - 1;
  const bool horizontal = image.dihedral & 1, vertical = image.dihedral & 2;
  const bool transpose = image.dihedral & 4;
  // Undo the flips, which come last: the row, and where column 0 is read.
  const int row = vertical ? last - h : h;
  const int column = horizontal ? last : 0, direction = horizontal ? -1 : 1;
  const int64_t crop = image.crop_y * W + image.crop_x;
  if (transpose) return {crop + column * W + row, direction * W};
  return {crop + row * W + column, direction};
}

// Throws where crop_statistics' integer sums would overflow.
void check_crop_sums(const AugmentProblem& problem);

}  // namespace mono
