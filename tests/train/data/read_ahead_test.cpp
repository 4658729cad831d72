#include "train/data/read_ahead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "kernels/base/philox.h"

namespace mono {
namespace {

// Takes a while that differs from item to item.
void dawdle(int64_t item) {
  Philox random(1, Purpose::test, 0, static_cast<uint32_t>(item));
  std::this_thread::sleep_for(std::chrono::microseconds(random.below(400)));
}

TEST(ReadAhead, HandsOutInOrderWhoeverWasQuicker) {
  for (const int workers : {0, 1, 4}) {
    ReadAhead<std::string> reader(3, 60, workers, [](int64_t item) {
      dawdle(item);
      return std::to_string(item);
    });
    for (int64_t item = 3; item < 60; ++item) {
      ASSERT_FALSE(reader.finished());
      ASSERT_EQ(reader.next(), std::to_string(item)) << workers << " workers";
    }
    EXPECT_TRUE(reader.finished());
    EXPECT_THROW(reader.next(), Error);
    EXPECT_GT(reader.waited(), 0);
  }
}

TEST(ReadAhead, ReadsNoFurtherAheadThanItsSlots) {
  for (const int workers : {1, 3}) {
    std::atomic<int64_t> started = 0;
    ReadAhead<int64_t> reader(0, 100, workers, [&](int64_t item) {
      ++started;
      return item;
    });
    for (int64_t taken = 0; taken < 20; ++taken) {
      for (int patience = 0; started < taken + workers + 1 && patience < 2000; ++patience)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      EXPECT_EQ(started, taken + workers + 1);  // all slots are filled, and no more is read
      EXPECT_EQ(reader.next(), taken);
    }
  }
}

TEST(ReadAhead, AnErrorIsThrownInItsTurn) {
  for (const int workers : {0, 2}) {
    ReadAhead<int64_t> reader(0, 10, workers, [](int64_t item) {
      dawdle(item);
      if (item == 4) fail(ErrorKind::data, "item {}", item);
      return item;
    });
    for (int64_t item = 0; item < 4; ++item) EXPECT_EQ(reader.next(), item);
    EXPECT_THROW(reader.next(), Error);
    EXPECT_THROW(reader.next(), Error);
  }
}

TEST(ReadAhead, GoesBeforeEverythingIsRead) {
  for (int64_t taken = 0; taken < 3; ++taken) {
    ReadAhead<int64_t> reader(0, 1000000, 3, [](int64_t item) { return item; });
    for (int64_t item = 0; item < taken; ++item) reader.next();
  }
}

}  // namespace
}  // namespace mono
