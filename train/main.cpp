// train_rxrx: the program. Errors of every layer arrive here, once.
#include <fmt/core.h>

#include <cstdio>
#include <exception>
#include <new>

#include "kernels/base/error.h"
#include "train/command_line.h"

int main(int argc, char** argv) {
  try {
    return mono::run_command_line(argc, argv);
  } catch (const mono::Error& error) {
    std::fflush(stdout);
    fmt::print(stderr, "error: {}\n", error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "error: out of memory; try a smaller batch or image\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {} (a fault of this program)\n", error.what());
  }
  return static_cast<int>(mono::ErrorKind::internal);
}
