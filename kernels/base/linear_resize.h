// One axis of a bilinear resize of uint8, in the arithmetic of OpenCV's INTER_LINEAR: half-pixel
// centres, no antialiasing, weights in units of 1/2048, truncated products, rounding at the end.
//
//   x        = (i + 1/2) in/out - 1/2,  as float;   first = floor(x),  f = x - first
//   weight   = round(2048 (1-f)), round(2048 f)
//   D(row)   = (p[first] w0 + p[second] w1) >> 4                                  over columns
//   q        = ((D(row0) v0 >> 16) + (D(row1) v1 >> 16) + 2) >> 2                 over rows
//
// The border is where the axes differ: columns beyond it take its pixel whole, rows keep their
// weights and read the border row twice (which truncates differently by one count now and then).
// Source: OpenCV, modules/imgproc/src/resize.cpp; equal to OpenCV 4.8 and 5.0 in every byte
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

namespace detail {
MONO_HOST_DEVICE inline LinearTap linear_tap(int i, int out, int in, bool whole_at_border) {
  const double scale = 1.0 / (static_cast<double>(out) / in);
  const float x = static_cast<float>((i + 0.5) * scale - 0.5);
  int first = static_cast<int>(floorf(x));
  float f = x - static_cast<float>(first);
  if (whole_at_border && (first < 0 || first >= in - 1)) {
    first = first < 0 ? 0 : in - 1;
    f = 0;
  }
  const int last = in - 1, second = first + 1;
  return {first < 0      ? 0
          : first > last ? last
                         : first,
          second > last ? last : second, static_cast<int>(rintf((1.0f - f) * 2048.0f)),
          static_cast<int>(rintf(f * 2048.0f))};
}
}  // namespace detail

// What output column or row i of `out` is made of, of `in`.
MONO_HOST_DEVICE inline LinearTap linear_column(int i, int out, int in) {
  return detail::linear_tap(i, out, in, true);
}
MONO_HOST_DEVICE inline LinearTap linear_row(int i, int out, int in) {
  return detail::linear_tap(i, out, in, false);
}

// A column's pixels in a row, at most 32,640.
MONO_HOST_DEVICE inline int linear_blend(const LinearTap& column, int first, int second) {
  return (first * column.first_weight + second * column.second_weight) >> 4;
}
// Two such rows, to a pixel.
MONO_HOST_DEVICE inline uint8_t linear_pixel(int first_weight, int second_weight, int first,
                                             int second) {
  return static_cast<uint8_t>(
      (((first * first_weight) >> 16) + ((second * second_weight) >> 16) + 2) >> 2);
}

}  // namespace mono
