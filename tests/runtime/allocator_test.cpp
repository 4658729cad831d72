// The caching allocator: what it reuses, what it counts, and that it never holds more than the live
// blocks' peak. All tests share the process's one CPU allocator, hence differences of counters.
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
  struct Block {
    void* data;
    size_t granted;
  };
  Block take(size_t bytes) {
    Block block{};
    block.data = allocator.allocate(bytes, block.granted);
    EXPECT_GE(block.granted, bytes);
    return block;
  }
  void give(const Block& block) { allocator.free(block.data, block.granted); }
  int64_t active() { return allocator.counters().active_bytes - start.active_bytes; }
  int64_t requests() { return allocator.counters().system_requests - start.system_requests; }

  CachingAllocator& allocator = CachingAllocator::of(Device::cpu);
  AllocatorCounters start;
};

TEST_F(Allocator, BlocksAreAlignedAndDistinct) {
  std::vector<Block> blocks;
  for (size_t bytes :
       {size_t{0}, size_t{1}, size_t{63}, size_t{65}, size_t{1} << 20, (size_t{3} << 20) + 5}) {
    blocks.push_back(take(bytes));
    const size_t alignment = bytes >= (size_t{1} << 20) ? 4096 : 64;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back().data) % alignment, 0u) << bytes;
    EXPECT_LE(blocks.back().granted, bytes + alignment) << bytes;
    std::memset(blocks.back().data, static_cast<int>(blocks.size()), bytes);
  }
  for (size_t i = 1; i < blocks.size(); ++i)
    EXPECT_EQ(*static_cast<uint8_t*>(blocks[i].data), i + 1) << "block " << i << " was overwritten";
  for (const Block& block : blocks) give(block);
  EXPECT_EQ(active(), 0);
}

TEST_F(Allocator, AFreedBlockServesTheNextRequestOfNearlyItsSize) {
  const Block first = take(9000);
  give(first);
  const Block again = take(8500);
  EXPECT_EQ(again.data, first.data);
  EXPECT_EQ(again.granted, first.granted);
  EXPECT_EQ(requests(), 1);
  give(again);
  const Block small = take(4000);  // more than an eighth would be wasted
  EXPECT_NE(small.granted, first.granted);
  EXPECT_EQ(requests(), 2);
  give(small);
}

TEST_F(Allocator, CountersFollowBlocks) {
  const Block a = take(64 * 100), b = take(64 * 50);
  EXPECT_EQ(active(), 64 * 150);
  give(a);
  EXPECT_EQ(active(), 64 * 50);
  EXPECT_EQ(allocator.counters().cached_bytes, 64 * 100);
  EXPECT_EQ(allocator.counters().peak_active_bytes, start.active_bytes + 64 * 150);
  allocator.reset_peak();
  EXPECT_EQ(allocator.counters().peak_active_bytes, start.active_bytes + 64 * 50);
  give(b);
  allocator.release_cache();
  EXPECT_EQ(allocator.counters().cached_bytes, 0);
  EXPECT_EQ(active(), 0);
  EXPECT_EQ(requests(), 2) << "the count of requests was set back";
}

// Active plus cached bytes stay within the peak of active bytes, whatever the sequence: a request
// of a new size takes the place of cached blocks instead of coming on top.
TEST_F(Allocator, TheFootprintNeverExceedsThePeakOfLiveBytes) {
  Philox random(11, Purpose::test);
  std::vector<Block> live;
  int reused = 0;
  for (int i = 0; i < 3000; ++i) {
    if (!live.empty() && random.uniform() < 0.5) {
      const size_t at = random.below(static_cast<uint32_t>(live.size()));
      give(live[at]);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      const int64_t before = requests();
      live.push_back(take(size_t{100} << random.below(15)));
      reused += requests() == before;
    }
    const AllocatorCounters now = allocator.counters();
    ASSERT_LE(now.active_bytes + now.cached_bytes, now.peak_active_bytes) << "after step " << i;
  }
  EXPECT_GT(reused, 100);
  for (const Block& block : live) give(block);
  EXPECT_EQ(active(), 0);
}

TEST_F(Allocator, ANewSizeTakesThePlaceOfCachedBlocks) {
  const Block large = take(size_t{8} << 20);
  give(large);
  const Block other = take(size_t{5} << 20);
  EXPECT_EQ(allocator.counters().cached_bytes, 0) << "8 MiB stay beside 5 MiB, peak was 8 MiB";
  give(other);
}

TEST_F(Allocator, MoreThanTheSystemHasIsAnErrorThatNamesTheSize) {
  size_t granted = 0;
  try {
    allocator.allocate(size_t{1} << 60, granted);
    FAIL() << "an exbibyte was granted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_NE(std::string(error.what()).find("1152921504606846976 bytes wanted"), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(active(), 0);
}

}  // namespace
}  // namespace mono
