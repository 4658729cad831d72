// kernels_tests_<level> (tests/CMakeLists.txt) are for CPUs that have the level: on others they
// would repeat the tests of a lower one.
#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/base/cpu_features.h"

namespace mono {
namespace {

class AskedLevel : public testing::Environment {
 public:
  void SetUp() override {
    const char* asked = std::getenv("MONO_MAX_ISA");
    if (asked && name_of(cpu_isa()) != asked) GTEST_SKIP() << "this CPU has no " << asked;
  }
};
const auto* const environment = testing::AddGlobalTestEnvironment(new AskedLevel);

}  // namespace
}  // namespace mono
