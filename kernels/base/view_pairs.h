// Which views of a step learn from which: multi-crop self-supervision (DINO, CDCL).
//
// Rows of a batch of views are view-major: row v * B + b is view v of pair b. The teacher sees the
// first `teachers` views, the student all of them.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/base/error.h"
#include "kernels/base/host_device.h"

namespace mono {

struct ViewPairs {
  static constexpr int kMostViews = 32, kMostTeachers = 2;

  int teachers = 2, views = 0;
  uint8_t of_view[kMostViews] = {};  // bit i: the student's view learns from the teacher's view i

  MONO_HOST_DEVICE bool has(int teacher, int view) const { return of_view[view] >> teacher & 1; }
  int teachers_of(int view) const { return std::popcount(of_view[view]); }
  int terms() const {
    int terms = 0;
    for (int v = 0; v < views; ++v) terms += teachers_of(v);
    return terms;
  }
  void check(const char* operation) const {
    MONO_CHECK(teachers >= 1 && teachers <= kMostTeachers && views >= 1 && views <= kMostViews &&
                   terms() >= 1,
               "{}: {} teacher views, {} student views, {} terms", operation, teachers, views,
               terms());
    for (int v = 0; v < views; ++v)
      MONO_CHECK(of_view[v] >> teachers == 0, "{}: view {} learns from a teacher view beyond {}",
                 operation, v, teachers);
  }
};

}  // namespace mono
