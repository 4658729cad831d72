// The folder of a run on the tiny screen whose weights are as drawn: enough to evaluate.
#pragma once

#include "tests/train/tiny_screen.h"

namespace mono::test {

void write_tiny_run(const std::filesystem::path& run, const std::filesystem::path& data,
                    const std::vector<std::string>& sets = {});

}  // namespace mono::test
