#include "train/data/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace mono {

using std::chrono::duration;
using std::chrono::duration_cast;

Progress::Progress(std::string what, int64_t total)
    : what_(std::move(what)),
      total_(total),
      terminal_(::isatty(STDERR_FILENO) == 1),
      begin_(Clock::now()),
      next_(begin_ + std::chrono::seconds(terminal_ ? 2 : 30)) {}

Progress::~Progress() {
  if (shown_ && terminal_) fmt::print(stderr, "\r\x1b[K");
}

void Progress::advance(int64_t done) {
  done_ += done;
  const auto now = Clock::now();
  if (now < next_) return;
  next_ = now + duration_cast<Clock::duration>(duration<double>(terminal_ ? 0.2 : 30.0));
  shown_ = true;
  const double rate = static_cast<double>(done_) / duration<double>(now - begin_).count();
  const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : 0;
  fmt::print(stderr, "{}{}: {} of {}, {:.0f}/s, {:.0f} s left{}", terminal_ ? "\r" : "", what_,
             done_, total_, rate, left, terminal_ ? "\x1b[K" : "\n");
  std::fflush(stderr);
}

}  // namespace mono
