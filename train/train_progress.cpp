#include "train/train_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <fstream>

namespace mono {
namespace {

std::string with_commas(int64_t value) {
  std::string digits = std::to_string(value);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string memory_text(uint64_t bytes) {
  const double megabytes = static_cast<double>(bytes) / 1e6;
  return megabytes < 1000 ? fmt::format("{:.0f} MB", megabytes)
                          : fmt::format("{:.1f} GB", megabytes / 1000);
}

void add(StepReport& sum, const StepReport& report) {
  sum.seconds += report.seconds;
  sum.wait_seconds += report.wait_seconds;
  sum.images += report.images;
}

}  // namespace

std::string progress_text(const StepReport& report, const StepReport& interval,
                          uint64_t memory_bytes, double seconds_left) {
  const double seconds = interval.seconds > 0 ? interval.seconds : 1;
  const double rate = static_cast<double>(interval.images) / seconds;
  std::string out = fmt::format(
      "ep {}/{}  step {}/{}  loss {:.3f}  |g| {:.2f}  lr {:.1e}  {:.{}f} img/s  data {:.1f} %  "
      "mem {}",
      report.epoch, report.epochs, with_commas(report.step), with_commas(report.steps), report.loss,
      report.gradient_norm, report.learning_rate, rate, rate < 10 ? 1 : 0,
      100 * interval.wait_seconds / seconds, memory_text(memory_bytes));
  if (report.step < report.steps)
    out += fmt::format("  ETA {} ({})", clock_text(seconds_left), duration_text(seconds_left));
  return out;
}

TrainProgress::TrainProgress(std::FILE* out) : line_(out) {}

TrainProgress::~TrainProgress() {
  if (pending_) show();
}

void TrainProgress::step(const StepReport& report) {
  last_ = report;
  add(interval_, report);
  add(all_, report);
  pending_ = true;
  if (++steps_ == 1 || line_.due()) show();
}

void TrainProgress::show() {
  const double seconds_left =
      all_.seconds / static_cast<double>(steps_) * static_cast<double>(last_.steps - last_.step);
  const uint64_t memory = last_.device_memory_bytes ? last_.device_memory_bytes : resident_bytes();
  line_.show(progress_text(last_, interval_, memory, seconds_left));
  interval_ = {};
  pending_ = false;
}

uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::string text;
  std::getline(file, text);
  const size_t space = text.find(' ');
  uint64_t pages = 0;
  if (space != text.npos)
    std::from_chars(text.data() + space + 1, text.data() + text.size(), pages);
  return pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace mono
