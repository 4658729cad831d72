#include "runtime/timed_link.h"

#include <gtest/gtest.h>

#include <ctime>
#include <thread>

namespace mono {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// One after the other: two pieces of 1 MB at 100 MB/s and 20 ms are 60 ms. Only lower bounds are
// exact on a busy machine.
TEST(TimedLink, CarriesOnePieceAfterTheOtherAndUsesNoProcessor) {
  TimedLink link(single_process(), {.latency_seconds = 0.02, .bytes_per_second = 1e8});
  const Tensor piece = Tensor::zeros({250'000}, DType::f32);
  const Clock::time_point start = Clock::now();
  const double cpu = cpu_seconds();
  link.start_sum(piece);
  link.start_sum(piece);
  link.finish_sums();
  EXPECT_GE(seconds_since(start), 0.06 - 1e-6);
  EXPECT_LT(cpu_seconds() - cpu, 0.03) << "a timer, not a loop";
}

TEST(TimedLink, WhatWasCarriedMeanwhileIsNotWaitedFor) {
  TimedLink link(single_process(), {.latency_seconds = 0.01, .bytes_per_second = 1e9});
  const Tensor piece = Tensor::zeros({1000}, DType::f32);
  link.start_sum(piece);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // backward goes on
  const double cpu = cpu_seconds();
  const Clock::time_point start = Clock::now();
  link.finish_sums();
  EXPECT_LT(cpu_seconds() - cpu, 0.01);
  EXPECT_LT(seconds_since(start), 0.5);
}

}  // namespace
}  // namespace mono
