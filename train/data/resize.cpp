#include "train/data/resize.h"

#include <cstddef>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/linear_resize.h"

namespace mono {

void resize_linear(const uint8_t* in, int from_height, int from_width, uint8_t* out, int to_height,
                   int to_width) {
  MONO_CHECK(from_height > 0 && from_width > 0 && to_height > 0 && to_width > 0,
             "{} x {} to {} x {}", from_height, from_width, to_height, to_width);
  const auto width = static_cast<size_t>(to_width);
  std::vector<LinearTap> columns;
  for (int x = 0; x < to_width; ++x) columns.push_back(linear_tap(x, to_width, from_width));
  // Two neighbouring source rows, blended; they are visited in order, so each is made once.
  std::vector<int16_t> buffer[2] = {std::vector<int16_t>(width), std::vector<int16_t>(width)};
  int held[2] = {-1, -1};
  const auto row = [&](int y) {
    const size_t slot = y & 1;
    const uint8_t* from = in + static_cast<size_t>(y) * static_cast<size_t>(from_width);
    if (held[slot] != y)
      for (size_t x = 0; x < width; ++x)
        buffer[slot][x] = static_cast<int16_t>(
            linear_blend(columns[x], from[columns[x].first], from[columns[x].second]));
    held[slot] = y;
    return buffer[slot].data();
  };
  for (int y = 0; y < to_height; ++y, out += width) {
    const LinearTap tap = linear_tap(y, to_height, from_height);
    const int16_t *first = row(tap.first), *second = row(tap.second);
    for (size_t x = 0; x < width; ++x)
      out[x] = linear_pixel(tap.first_weight, tap.second_weight, first[x], second[x]);
  }
}

}  // namespace mono
