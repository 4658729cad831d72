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
  uint32_t learners[kMostTeachers] = {};  // bit v: the student's view v learns from the teacher's i

  void add(int teacher, int view) { learners[teacher] |= 1u << view; }
  MONO_HOST_DEVICE bool has(int teacher, int view) const { return learners[teacher] >> view & 1; }
  int terms() const { return std::popcount(learners[0]) + std::popcount(learners[1]); }

  void check(const char* operation) const {
    MONO_CHECK(teachers >= 1 && teachers <= kMostTeachers && views >= 1 && views <= kMostViews &&
                   terms() >= 1,
               "{}: {} teacher views, {} student views, {} terms", operation, teachers, views,
               terms());
    for (int i = 0; i < kMostTeachers; ++i)
      MONO_CHECK((i < teachers || learners[i] == 0) && uint64_t{learners[i]} >> views == 0,
                 "{}: {} teacher and {} student views, and a term beyond", operation, teachers,
                 views);
  }
};

}  // namespace mono
