// Bilinear resizing of 8-bit planes, bit for bit as OpenCV's cv::resize(..., INTER_LINEAR).
//
//   u = (x + 1/2) from/to - 1/2      pixels are squares whose centres map onto each other
//   y = round(2048 (1 - f)) p[floor(u)] + round(2048 f) p[floor(u) + 1],  f = u - floor(u)
// along rows, then likewise along columns, in whole numbers with 11 bits of fraction, borders
// clamped. There is no filter before it, whatever the ratio: from 1080 to 256 pixels three quarters
// of the pixels count for nothing. To exactly half the size OpenCV averages 2 x 2 pixels instead,
// (a + b + c + d + 2) / 4. Source: OpenCV 4, modules/imgproc/src/resize.cpp.
#pragma once

#include <cstdint>

namespace mono {

// in (from_height, from_width) -> out (to_height, to_width), both contiguous, not overlapping.
void resize_linear(const uint8_t* in, int from_height, int from_width, uint8_t* out, int to_height,
                   int to_width);

}  // namespace mono
