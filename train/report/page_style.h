// The style sheet of a page: light, dark and print.
#pragma once

#include <string>

namespace mono::report {

std::string page_css();

}  // namespace mono::report
