// Units of work over the pixels of an NHWC batch: blocks of consecutive pixels, each inside one
// segment. They depend on the segment's own pixels and C only, so neither the number of threads
// nor the other segments of the batch change a bit of what is summed over them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/base/error.h"
#include "kernels/base/segments.h"

namespace mono {

struct PixelUnit {
  int segment;
  int64_t begin, end;  // pixels of the batch, end - begin >= 1
};

class PixelUnits {
 public:
  // A unit holds about 32k elements, at least 32 pixels (what is reduced over units then costs
  // little beside the units), and at most 256 units make a segment.
  static constexpr int64_t kElements = 32768, kLeastPixels = 32, kMostUnits = 256;

  PixelUnits(Segments segments, int64_t pixels_per_image, int C)
      : segments_(segments), image_(pixels_per_image), least_(least_pixels(C)) {
    for (int s = 0; s < segments.count; ++s) count_ += units_of(s);
  }

  int64_t count() const { return count_; }
  int64_t pixels_of(int s) const { return (segments_.end(s) - segments_.begin(s)) * image_; }
  int64_t units_of(int s) const { return ceil_div(pixels_of(s), unit_pixels(s)); }
  int64_t unit_pixels(int s) const {  // of every unit of segment s but the last
    return std::max(least_, ceil_div(pixels_of(s), kMostUnits));
  }
  int64_t first_pixel(int s) const { return segments_.begin(s) * image_; }
  int64_t first_unit(int s) const {
    int64_t first = 0;
    for (int before = 0; before < s; ++before) first += units_of(before);
    return first;
  }

  PixelUnit at(int64_t unit) const {
    int s = 0;
    for (int64_t units; unit >= (units = units_of(s)); ++s) unit -= units;
    const int64_t begin = first_pixel(s) + unit * unit_pixels(s);
    return {s, begin, std::min(begin + unit_pixels(s), first_pixel(s) + pixels_of(s))};
  }

  // An upper bound of count() for any `segments` segments of a batch with `pixels` pixels.
  static int64_t most(int64_t pixels, int C, int segments) {
    return std::min(pixels / least_pixels(C) + segments, kMostUnits * segments);
  }

 private:
  static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
  static int64_t least_pixels(int C) { return std::max(kLeastPixels, kElements / C); }

  Segments segments_;
  int64_t image_, least_, count_ = 0;
};

// Throws unless `segments` partitions a batch of N images.
inline void check_segments(const char* operation, Segments segments, int N) {
  MONO_CHECK(segments.count >= 1 && segments.offsets && segments.begin(0) == 0 &&
                 segments.end(segments.count - 1) == N,
             "{}: the segments must cover images 0..{} of the batch", operation, N);
  for (int s = 0; s < segments.count; ++s)
    MONO_CHECK(segments.begin(s) < segments.end(s), "{}: segment {} is empty ({}..{})", operation,
               s, segments.begin(s), segments.end(s));
}

}  // namespace mono
