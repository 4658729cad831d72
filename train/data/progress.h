// How far a long pass over the images is, on stderr: one live line on a terminal, else a full line
// every 30 seconds. Nothing for passes that take less than two seconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace mono {

class Progress {
 public:
  Progress(std::string what, int64_t total);
  ~Progress();  // clears the live line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void advance(int64_t done);  // so many more; from one thread

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  int64_t total_, done_ = 0;
  bool terminal_, shown_ = false;
  Clock::time_point begin_, next_;
};

}  // namespace mono
