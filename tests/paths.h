// Where tests find their files: in the source tree, or where the environment says (a bundle).
#pragma once

#include <cstdlib>
#include <string>

namespace mono::test {

inline std::string path_from(const char* variable, const char* in_the_build) {
  const char* value = std::getenv(variable);
  return value ? value : in_the_build;
}

// The folder tests/data.
inline std::string data_folder() {
  return path_from("MONO_TEST_DATA_DIR", MONO_TEST_DATA_DIR);
}

#ifdef MONO_PROGRAM
// train_rxrx.
inline std::string program() {
  return path_from("MONO_PROGRAM", MONO_PROGRAM);
}
#endif

}  // namespace mono::test
