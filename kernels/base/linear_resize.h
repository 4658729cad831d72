// Bilinear resizing of uint8 in the arithmetic of OpenCV's INTER_LINEAR: half-pixel centres, no
// antialiasing, weights in units of 1/2048, products truncated twice, one rounding at the end.
//
//   x       = (i + 1/2) in/out - 1/2, as float;   first = floor(x),  second = first + 1,  f = x -
//   first blend   = (p[first] round(2048 (1-f)) + p[second] round(2048 f)) >> 4              along
//   a row pixel   = ((blend0 round(2048 (1-f)) >> 16) + (blend1 round(2048 f) >> 16) + 2) >> 2
//   across rows
//
// A neighbour beyond the border is the border's pixel. OpenCV says that of rows only and gives
// columns there the border's pixel whole; as the two weights add up to 2048 (checked for all inputs
// below 1,100 and outputs below 300) it is the same. Exactly halved, this is (a + b + c + d + 2)
// / 4. Source: OpenCV, modules/imgproc/src/resize.cpp; every byte as OpenCV 4.8 and 5.0 have it
// (tools/golden/resize.py).
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/base/host_device.h"

namespace mono {

struct LinearTap {
  int first, second;                // of the input, 0..in-1
  int first_weight, second_weight;  // of 2048
};

// What pixel i of `out` is made of, of `in`, along one axis.
MONO_HOST_DEVICE inline LinearTap linear_tap(int i, int out, int in) {
  const double scale = 1.0 / (static_cast<double>(out) / in);
  const float x = static_cast<float>((i + 0.5) * scale - 0.5), low = floorf(x), f = x - low;
  const int first = static_cast<int>(low), last = in - 1;
  return {first < 0 ? 0 : first, first < last ? first + 1 : last,
          static_cast<int>(rintf((1.0f - f) * 2048.0f)), static_cast<int>(rintf(f * 2048.0f))};
}

// Two pixels of a row, at most 32,640.
MONO_HOST_DEVICE inline int linear_blend(const LinearTap& column, int first, int second) {
  return (first * column.first_weight + second * column.second_weight) >> 4;
}
// Two such blends, of rows with these weights.
MONO_HOST_DEVICE inline uint8_t linear_pixel(int first_weight, int second_weight, int first,
                                             int second) {
  return static_cast<uint8_t>(
      (((first * first_weight) >> 16) + ((second * second_weight) >> 16) + 2) >> 2);
}

}  // namespace mono
