// Bilinear resizing of 8-bit planes, bit for bit as OpenCV's cv::resize(..., INTER_LINEAR): the
// arithmetic is kernels/base/linear_resize.h. There is no filter before it, whatever the ratio:
// from 1080 to 256 pixels three quarters of the pixels count for nothing.
#pragma once

#include <cstdint>

namespace mono {

// in (from_height, from_width) -> out (to_height, to_width), both contiguous, not overlapping.
void resize_linear(const uint8_t* in, int from_height, int from_width, uint8_t* out, int to_height,
                   int to_width);

}  // namespace mono
