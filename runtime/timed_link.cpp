#include "runtime/timed_link.h"

#include <algorithm>
#include <thread>

namespace mono {

void TimedLink::start_sum(const Tensor& piece) {
  using Clock = std::chrono::steady_clock;
  inner_.start_sum(piece);
  const std::chrono::duration<double> carried(link_.seconds(static_cast<double>(piece.bytes())));
  free_ = std::max(free_, Clock::now()) + std::chrono::duration_cast<Clock::duration>(carried);
}

void TimedLink::finish_sums() {
  inner_.finish_sums();
  std::this_thread::sleep_until(free_);
}

}  // namespace mono
