#include "train/progress.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <ctime>

namespace mono {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

ProgressLine::ProgressLine(std::FILE* out)
    : out_(out), last_(Clock::now()), terminal_(::isatty(::fileno(out)) == 1) {}

ProgressLine::~ProgressLine() {
  clear();
}

bool ProgressLine::due() const {
  return seconds_since(last_) >= (terminal_ ? 0.1 : 30.0);
}

void ProgressLine::show(const std::string& text) {
  if (terminal_)
    fmt::print(out_, "\r\x1b[K{}", text);
  else
    fmt::print(out_, "{}\n", text);
  std::fflush(out_);
  live_ = terminal_;
  last_ = Clock::now();
}

void ProgressLine::clear() {
  if (live_) fmt::print(out_, "\r\x1b[K");
  live_ = false;
}

std::string duration_text(double seconds) {
  const int64_t s = std::llround(seconds);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  return fmt::format("{}:{:02} h", s / 3600, s / 60 % 60);
}

std::string clock_text(double seconds) {
  const std::time_t now = std::time(nullptr);
  const std::time_t then = now + static_cast<std::time_t>(std::llround(seconds));
  const std::tm today = fmt::localtime(now), at = fmt::localtime(then);
  const bool same_day = today.tm_year == at.tm_year && today.tm_yday == at.tm_yday;
  return same_day ? fmt::format("{:%H:%M}", at) : fmt::format("{:%a %H:%M}", at);
}

Progress::Progress(std::string task, int64_t total, std::string unit)
    : task_(std::move(task)), unit_(std::move(unit)), total_(total), start_(Clock::now()) {}

void Progress::advance(int64_t count) {
  done_ += count;
  if (!line_.due()) return;
  const double rate = static_cast<double>(done_) / seconds_since(start_);
  line_.show(fmt::format("{}: {} of {} {}, {:.1f} {}/s, done at {}", task_, done_, total_, unit_,
                         rate, unit_, clock_text(static_cast<double>(total_ - done_) / rate)));
}

}  // namespace mono
