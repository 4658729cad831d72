#include <charconv>
#include <cstdlib>

#include "kernels/base/error.h"
#include "kernels/simt/emulator.h"

namespace mono::simt {
namespace {

Schedule schedule_from_environment() {
  const char* name = std::getenv("MONO_SIMT_SCHEDULE");
  for (const Schedule& s : test_schedules())
    if (!name || std::string_view(name) == s.name) return s;
  const std::string_view text = name;
  Schedule shuffled = test_schedules()[2];
  if (text.starts_with("seed") &&
      std::from_chars(text.data() + 4, text.data() + text.size(), shuffled.seed).ec ==
          std::errc()) {
    shuffled.name = name;
    return shuffled;
  }
  fail(ErrorKind::usage, "MONO_SIMT_SCHEDULE={}: forward, reverse or seed<number>", name);
}

Schedule& active_schedule() {
  static Schedule schedule = schedule_from_environment();
  return schedule;
}

}  // namespace

std::array<Schedule, 4> test_schedules() {
  using enum Schedule::Order;
  return {{{forward, 0, false, true, "forward"},
           {reverse, 0, true, false, "reverse"},
           {shuffled, 1, false, true, "seed1"},
           {shuffled, 2, true, true, "seed2"}}};
}
const Schedule& schedule() {
  return active_schedule();
}
void set_schedule(const Schedule& schedule) {
  active_schedule() = schedule;
}

}  // namespace mono::simt
