#include "kernels/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "kernels/base/error.h"

namespace mono {
namespace {

TEST(ThreadPool, EveryUnitRunsOnce) {
  const int before = num_threads();
  for (int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    for (int units : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(units);
      parallel_for(units, [&](int64_t unit, int worker) {
        ASSERT_GE(worker, 0);
        ASSERT_LT(worker, threads);
        runs[unit].fetch_add(1);
      });
      for (const auto& count : runs) ASSERT_EQ(count.load(), 1);
    }
  }
  set_num_threads(before);
}

TEST(ThreadPool, RethrowsAndGoesOn) {
  EXPECT_THROW(parallel_for(64,
                            [](int64_t unit, int) {
                              if (unit == 13) fail(ErrorKind::internal, "unit {}", unit);
                            }),
               Error);
  std::atomic<int> count{0};
  parallel_for(64, [&](int64_t, int) { ++count; });
  EXPECT_EQ(count.load(), 64);
}

TEST(ThreadPool, NestedAndForeignCallsRunHere) {
  std::atomic<int> count{0};
  parallel_for(8, [&](int64_t, int) { parallel_for(8, [&](int64_t, int) { ++count; }); });
  std::thread other([&] {
    SerialRegion serial;
    parallel_for(8, [&](int64_t, int worker) {
      EXPECT_EQ(worker, 0);
      ++count;
    });
  });
  parallel_for(8, [&](int64_t, int) { ++count; });
  other.join();
  EXPECT_EQ(count.load(), 80);
}

}  // namespace
}  // namespace mono
