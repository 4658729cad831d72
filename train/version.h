// What this program is: printed by --version, recorded in every run.
#pragma once

#include <string>

namespace mono {

std::string program_version();   // "0.1.0"
std::string program_commit();    // of the configured tree; "unknown" without .git
std::string program_compiler();  // "GNU 12.2.0"
std::string instruction_set();   // the level in use on this CPU: "avx512"
std::string version_text();      // all of it with the devices, several lines

}  // namespace mono
