#include "train/data/resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/base/error.h"

namespace mono {
namespace {

// Two neighbouring source pixels and their weights in 2048ths.
struct Tap {
  int first, second;
  int weight_first, weight_second;
};

constexpr float kOne = 2048;

int weight(float part) {
  return static_cast<int>(std::nearbyint(part * kOne));  // ties to even, as cvRound
}

// OpenCV computes positions in double and rounds them to float before it takes the floor. Along
// rows a position outside of the image counts as the border pixel; along columns the two taps are
// clamped one by one, with the weights as they are. Both give the same: the border pixel.
std::vector<Tap> taps(int from, int to) {
  const double scale = 1.0 / (static_cast<double>(to) / from);
  std::vector<Tap> out;
  for (int i = 0; i < to; ++i) {
    const float u = static_cast<float>((i + 0.5) * scale - 0.5);
    const int low = static_cast<int>(std::floor(u));
    const float part = u - static_cast<float>(low);
    out.push_back({std::clamp(low, 0, from - 1), std::clamp(low + 1, 0, from - 1),
                   weight(1.0f - part), weight(part)});
  }
  return out;
}

void halve(const uint8_t* in, int to_height, int to_width, uint8_t* out) {
  const auto width = static_cast<size_t>(to_width);
  for (int y = 0; y < to_height; ++y, in += 4 * width, out += width)
    for (size_t x = 0; x < width; ++x)
      out[x] = static_cast<uint8_t>(
          (in[2 * x] + in[2 * x + 1] + in[2 * width + 2 * x] + in[2 * width + 2 * x + 1] + 2) >> 2);
}

}  // namespace

void resize_linear(const uint8_t* in, int from_height, int from_width, uint8_t* out, int to_height,
                   int to_width) {
  MONO_CHECK(from_height > 0 && from_width > 0 && to_height > 0 && to_width > 0,
             "{} x {} to {} x {}", from_height, from_width, to_height, to_width);
  if (from_height == to_height && from_width == to_width) {
    std::copy_n(in, static_cast<size_t>(from_height) * static_cast<size_t>(from_width), out);
    return;
  }
  if (from_height == 2 * to_height && from_width == 2 * to_width)
    return halve(in, to_height, to_width, out);

  const std::vector<Tap> columns = taps(from_width, to_width), rows = taps(from_height, to_height);
  const auto width = static_cast<size_t>(to_width);
  // Two source rows, resized; rows are visited in order, so each is made about once.
  std::vector<int> buffer[2] = {std::vector<int>(width), std::vector<int>(width)};
  int held[2] = {-1, -1};
  const auto row = [&](int y, int other) -> int {
    for (int k = 0; k < 2; ++k)
      if (held[k] == y) return k;
    const int k = other == 0 ? 1 : 0;
    const uint8_t* from = in + static_cast<size_t>(y) * static_cast<size_t>(from_width);
    for (size_t x = 0; x < width; ++x)
      buffer[k][x] = from[columns[x].first] * columns[x].weight_first +
                     from[columns[x].second] * columns[x].weight_second;
    held[k] = y;
    return k;
  };
  for (const Tap& tap : rows) {
    // The row that is needed twice, or the second of the last step, stays.
    const int a = row(tap.first, held[0] == tap.second ? 0 : held[1] == tap.second ? 1 : -1);
    const int b = row(tap.second, a);
    const int *first = buffer[a].data(), *second = buffer[b].data();
    for (size_t x = 0; x < width; ++x)
      out[x] = static_cast<uint8_t>((((tap.weight_first * (first[x] >> 4)) >> 16) +
                                     ((tap.weight_second * (second[x] >> 4)) >> 16) + 2) >>
                                    2);
    out += width;
  }
}

}  // namespace mono
