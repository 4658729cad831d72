// What NCCL may do to a rank, played by tests/fake_nccl: no GPU is needed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#if MONO_NCCL

#include <future>
#include <memory>
#include <thread>

#include "kernels/base/gpu.h"
#include "runtime/non_blocking_nccl.h"
#include "tests/fake_nccl/fake_nccl.h"
#include "tests/paths.h"

namespace mono {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class NonBlockingNcclTest : public testing::Test {
 protected:
  void SetUp() override { nccl.library.function<void(test::FakeNccl*)>("use_fake_nccl")(&fake); }

  std::unique_ptr<NonBlockingNccl> start(double timeout_s = 60) {
    return std::make_unique<NonBlockingNccl>(nccl, ncclUniqueId{}, 0, 2, timeout_s);
  }

  template <class F>
  static std::string device_error_of(F&& f) {
    try {
      f();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::device);
      return error.what();
    }
    return "no error";
  }

  const std::string library_ = test::fake_nccl();
  const Nccl nccl{SharedLibrary(library_.c_str())};
  test::FakeNccl fake;
};

TEST_F(NonBlockingNcclTest, EveryCallIsWaitedForBeforeTheNext) {
  fake.questions = 3;
  const auto ranks = start();
  EXPECT_FALSE(fake.blocking);
  EXPECT_GT(fake.asked, 3);
  float values[2] = {};
  ranks->start_sum(values, 2, ncclFloat32, nullptr);
  EXPECT_GT(fake.asked, 3);
  EXPECT_THAT(fake.calls, ElementsAre("ncclCommInitRankConfig", "ncclAllReduce"));
}

TEST_F(NonBlockingNcclTest, EndsAsItShould) {
  start();
  EXPECT_THAT(fake.calls,
              ElementsAre("ncclCommInitRankConfig", "ncclCommFinalize", "ncclCommDestroy"));
}

// The error is out before anything is taken down: rank 0 hears of it, whatever NCCL then waits for.
TEST_F(NonBlockingNcclTest, AnotherRanksErrorIsReportedAndThenAborts) {
  auto ranks = start();
  fake.calls.clear();
  fake.outcome = ncclRemoteError;
  EXPECT_THAT(device_error_of([&] { ranks->wait([] { return false; }, "sums of gradients"); }),
              AllOf(HasSubstr("sums of gradients: remote error (the last thing that happened)"),
                    HasSubstr("NCCL_DEBUG=INFO")));
  EXPECT_THAT(fake.calls, ElementsAre());
  ranks.reset();
  EXPECT_THAT(fake.calls, ElementsAre("ncclCommAbort"));  // no end in good order, which peers share
}

TEST_F(NonBlockingNcclTest, AnErrorAtTheStartAborts) {
  fake.questions = 2;
  fake.outcome = ncclRemoteError;
  EXPECT_THAT(device_error_of([&] { start(); }), HasSubstr("ncclCommInitRankConfig: remote error"));
  EXPECT_THAT(fake.calls, ElementsAre("ncclCommInitRankConfig", "ncclCommAbort"));
}

TEST_F(NonBlockingNcclTest, ARefusedSumAborts) {
  auto ranks = start();
  fake.refused = "ncclAllReduce";
  EXPECT_THAT(device_error_of([&] { ranks->start_sum(nullptr, 0, ncclFloat32, nullptr); }),
              HasSubstr("ncclAllReduce: invalid usage"));
  ranks.reset();
  EXPECT_THAT(fake.calls, ElementsAre("ncclCommInitRankConfig", "ncclAllReduce", "ncclCommAbort"));
}

TEST_F(NonBlockingNcclTest, WhatNeverEndsIsGivenUp) {
  fake.questions = -1;
  EXPECT_THAT(device_error_of([&] { start(0.05); }),
              AllOf(HasSubstr("ncclCommInitRankConfig did not end within 0 s"),
                    HasSubstr("ranks.timeout_s")));
  EXPECT_THAT(fake.calls, ElementsAre("ncclCommInitRankConfig", "ncclCommAbort"));
}

TEST_F(NonBlockingNcclTest, AnEndThatNeverEndsIsGivenUp) {
  auto ranks = start(0.05);
  fake.questions = -1;
  ranks.reset();
  EXPECT_THAT(fake.calls,
              ElementsAre("ncclCommInitRankConfig", "ncclCommFinalize", "ncclCommAbort"));
}

// A file that cannot be read, a fault of a kernel: peers know nothing of it.
TEST_F(NonBlockingNcclTest, AnyOtherErrorAborts) {
  EXPECT_THAT(device_error_of([&] {
                const auto ranks = start();
                fail(ErrorKind::device, "something else");
              }),
              HasSubstr("something else"));
  EXPECT_THAT(fake.calls, ElementsAre("ncclCommInitRankConfig", "ncclCommAbort"));
  fake.calls.clear();
  auto ranks = start();
  const auto fault = []() -> bool { fail(ErrorKind::device, "an illegal address"); };
  EXPECT_THAT(device_error_of([&] { ranks->wait(fault, "sums"); }), HasSubstr("illegal address"));
  ranks.reset();
  EXPECT_THAT(fake.calls, ElementsAre("ncclCommInitRankConfig", "ncclCommAbort"));
}

TEST_F(NonBlockingNcclTest, AnAbortThatHangsIsLeft) {
  auto ranks = start();
  fake.refused = "ncclAllReduce";
  device_error_of([&] { ranks->start_sum(nullptr, 0, ncclFloat32, nullptr); });
  std::promise<void> peer;
  fake.abort_waits_for = peer.get_future();
  ranks.reset();  // returns
  EXPECT_THAT(fake.calls, ElementsAre("ncclCommInitRankConfig", "ncclAllReduce"));
  peer.set_value();
  while (!fake.abort_waited) std::this_thread::yield();
}

TEST_F(NonBlockingNcclTest, ALibraryThatIsNotThereIsNamed) {
  EXPECT_THAT(device_error_of([] { Nccl{SharedLibrary("libnccl_of_nowhere.so")}; }),
              AllOf(HasSubstr("libnccl_of_nowhere.so"), HasSubstr("LD_LIBRARY_PATH")));
}

// NCCL itself, as far as a machine without a GPU goes: its functions are found and its errors come
// through.
TEST(Nccl, RefusesAMachineWithoutAGpu) {
  std::string why;
  if (gpu::properties(&why)) GTEST_SKIP() << "there is a GPU";
  std::unique_ptr<Nccl> nccl;
  try {
    nccl.reset(new Nccl{SharedLibrary("libnccl.so.2")});
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  ncclUniqueId id{};
  nccl->check(nccl->ncclGetUniqueId(&id), "ncclGetUniqueId", nullptr);
  try {
    NonBlockingNccl(*nccl, id, 0, 1, 30);
    FAIL() << "joined without a GPU";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(), HasSubstr("ncclCommInitRankConfig: unhandled cuda error"));
  }
}

}  // namespace
}  // namespace mono

#else

TEST(NonBlockingNcclTest, NeedsNcclsHeader) {
  GTEST_SKIP() << "this build has no NCCL (preset cuda has, where nccl.h is installed)";
}

#endif
