// Errors: one exception type, thrown by every layer, caught once in main.
//
// The message names the operation, file, row or key, both values, and the likely remedy; the kind
// decides the exit code of the program.
#pragma once

#ifdef __CUDACC__
#define FMT_USE_CONSTEXPR 1  // fmt 9 takes nvcc for a compiler without it
#endif
#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace mono {

enum class ErrorKind : int {
  internal = 1,     // a fault of this program
  usage = 2,        // command line or recipe
  data = 3,         // the content of a file that was read
  diverged = 4,     // a loss or weight that is not finite
  storage = 5,      // a write, rename or sync that failed
  device = 6,       // GPU or collective
  interrupted = 75  // a signal; everything is saved
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }
  int exit_code() const { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

// Throws Error(kind) with a formatted message:  fail(ErrorKind::data, "{}: row {}: ...", file,
// row);
template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

// For conditions that only a fault of this program can violate.
#define MONO_CHECK(condition, ...)                                                        \
  do {                                                                                    \
    if (!(condition))                                                                     \
      ::mono::fail(::mono::ErrorKind::internal, "{}:{}: check '{}' failed: {}", __FILE__, \
                   __LINE__, #condition, ::fmt::format(__VA_ARGS__));                     \
  } while (0)

}  // namespace mono
