// Progress on stderr: one live line on a terminal, else a full line every 30 seconds, so that a
// batch system's log stays readable. No colour, so NO_COLOR has nothing to switch off.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace mono {

class ProgressLine {
 public:
  explicit ProgressLine(std::FILE* out = stderr);  // another one for tests
  ~ProgressLine();                                 // ends the live line
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Whether it is time for a line (ten a second on a terminal); text need not be made before.
  bool due() const;
  void show(const std::string& text);
  // Clears the live line, so that other output can be printed.
  void clear();

 private:
  std::FILE* out_;
  std::chrono::steady_clock::time_point last_;
  bool terminal_, live_ = false;
};

// Seconds as a person reads them: "42 s", "3:07 min", "2:05 h".
std::string duration_text(double seconds);
// The wall clock in `seconds` from now, "14:05", or "Sun 14:05" on another day.
std::string clock_text(double seconds);

// A count of work: "evaluate: 1024 of 4400 images, 35.2 images/s, done at 14:05".
class Progress {
 public:
  Progress(std::string task, int64_t total, std::string unit);
  void advance(int64_t count);

 private:
  std::string task_, unit_;
  int64_t total_, done_ = 0;
  std::chrono::steady_clock::time_point start_;
  ProgressLine line_;
};

}  // namespace mono
