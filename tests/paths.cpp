#include "tests/paths.h"

#include <cstdlib>

namespace mono::test {
namespace {

std::string path_from(const char* variable, const char* in_the_build) {
  const char* value = std::getenv(variable);
  return value ? value : in_the_build;
}

}  // namespace

std::string data_folder() {
  return path_from("MONO_TEST_DATA_DIR", MONO_TEST_DATA_DIR);
}
std::string program() {
  return path_from("MONO_PROGRAM", MONO_PROGRAM);
}
std::string fake_nccl() {
  return path_from("MONO_FAKE_NCCL", MONO_FAKE_NCCL);
}
std::string shared_folder() {
  return MONO_SHARED_DIR;
}

}  // namespace mono::test
