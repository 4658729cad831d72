#include "train/version.h"

#include <fmt/format.h>

#include "kernels/base/cpu_features.h"
#include "train/device.h"

namespace mono {

std::string program_version() {
  return MONO_VERSION;
}
std::string program_commit() {
  return MONO_COMMIT;
}
std::string program_compiler() {
  return MONO_COMPILER;
}
std::string instruction_set() {
  return std::string(name_of(cpu_isa()));
}

std::string version_text() {
  std::string devices = devices_text();  // a line each
  for (size_t at = 0; (at = devices.find('\n', at)) != std::string::npos; ++at)
    devices.insert(at + 1, 17, ' ');
  return fmt::format(
      "train_rxrx {}\ncommit           {}\ncompiler         {}\ninstruction set  {}\ndevices       "
      "   {}",
      program_version(), program_commit(), program_compiler(), instruction_set(), devices);
}

}  // namespace mono
