// The caching allocator: what it reuses, splits and merges, what it counts, and how much it holds
// beyond the live blocks. All tests share the process's one CPU allocator, hence differences of
// counters.
#include "runtime/allocator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"

namespace mono {
namespace {

class Allocator : public testing::Test {
 protected:
  void SetUp() override {
    allocator.release_cache();
    allocator.reset_peak();
    start = allocator.counters();
    ASSERT_EQ(start.cached_bytes, 0);
  }
  void* take(size_t bytes) { return allocator.allocate(bytes); }
  void give(void* block) { allocator.free(block); }
  int64_t active() { return allocator.counters().active_bytes - start.active_bytes; }
  int64_t requests() { return allocator.counters().system_requests - start.system_requests; }

  CachingAllocator& allocator = CachingAllocator::of(Device::cpu);
  AllocatorCounters start;
};

constexpr size_t kMiB = size_t{1} << 20;

TEST_F(Allocator, BlocksAreAlignedAndDistinct) {
  const std::vector<size_t> sizes = {0, 1, 63, 65, kMiB, 3 * kMiB + 5};
  std::vector<void*> blocks;
  for (size_t bytes : sizes) {
    blocks.push_back(take(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back()) % 64, 0u) << bytes;
    std::memset(blocks.back(), static_cast<int>(blocks.size()), bytes);
  }
  for (size_t i = 2; i < sizes.size(); ++i) {
    const auto* bytes = static_cast<uint8_t*>(blocks[i]);
    EXPECT_EQ(bytes[0], i + 1) << "block " << i << " was overwritten";
    EXPECT_EQ(bytes[sizes[i] - 1], i + 1) << "block " << i << " was overwritten";
  }
  for (void* block : blocks) give(block);
  EXPECT_EQ(active(), 0);
}

TEST_F(Allocator, AStepRepeatedAsksTheSystemForNothing) {
  const std::vector<size_t> sizes = {5 * kMiB, 300, 7 * kMiB, 64 * 1000, 3 * kMiB, 12 * kMiB};
  const auto step = [&] {
    std::vector<void*> blocks;
    for (size_t bytes : sizes) blocks.push_back(take(bytes));
    for (void* block : blocks) give(block);
    void* large = take(11 * kMiB);  // what backward needs fits where forward's tensors were
    give(large);
  };
  step();
  const int64_t after_one = requests();
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(requests(), after_one);
}

TEST_F(Allocator, SplitsAndMerges) {
  void* whole = take(9 * kMiB);
  give(whole);
  void *a = take(3 * kMiB), *b = take(3 * kMiB), *c = take(3 * kMiB);
  EXPECT_EQ(a, whole);
  EXPECT_EQ(requests(), 1) << "three thirds fit into the freed block";
  give(a);
  give(c);
  give(b);  // merges with both neighbours
  EXPECT_EQ(take(9 * kMiB), whole);
  EXPECT_EQ(requests(), 1);
  give(whole);
}

TEST_F(Allocator, CountersFollowBlocks) {
  void *a = take(64 * 100), *b = take(64 * 50);
  EXPECT_EQ(active(), 64 * 150);
  give(a);
  EXPECT_EQ(active(), 64 * 50);
  EXPECT_EQ(allocator.counters().peak_active_bytes, start.active_bytes + 64 * 150);
  allocator.reset_peak();
  EXPECT_EQ(allocator.counters().peak_active_bytes, start.active_bytes + 64 * 50);
  give(b);
  allocator.release_cache();
  EXPECT_EQ(allocator.counters().cached_bytes, 0);
  EXPECT_EQ(active(), 0);
  EXPECT_EQ(requests(), 1) << "the count of requests was set back";
}

// Whatever the sequence of sizes, fragmentation stays bounded: what is held is at most half as much
// again as the live blocks ever needed.
TEST_F(Allocator, TheFootprintStaysNearThePeakOfLiveBytes) {
  Philox random(11, Purpose::test);
  std::vector<void*> live;
  for (int i = 0; i < 3000; ++i) {
    if (!live.empty() && random.uniform() < 0.5) {
      const size_t at = random.below(static_cast<uint32_t>(live.size()));
      give(live[at]);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      live.push_back(take(size_t{100} << random.below(15)));
    }
    const AllocatorCounters now = allocator.counters();
    ASSERT_LE(now.active_bytes + now.cached_bytes,
              now.peak_active_bytes * 3 / 2 + 4 * int64_t{kMiB})
        << "after step " << i;
  }
  for (void* block : live) give(block);
  EXPECT_EQ(active(), 0);
}

TEST_F(Allocator, ANewSizeTakesThePlaceOfFreeSegments) {
  give(take(8 * kMiB));
  void* other = take(9 * kMiB);
  EXPECT_EQ(allocator.counters().cached_bytes, 0) << "8 MiB stay beside 9 MiB";
  give(other);
}

TEST_F(Allocator, MoreThanTheSystemHasIsAnErrorThatNamesTheSize) {
  try {
    allocator.allocate(size_t{1} << 60);
    FAIL() << "an exbibyte was granted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_NE(std::string(error.what()).find("1099511627776.0 MB wanted"), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(active(), 0);
}

}  // namespace
}  // namespace mono
