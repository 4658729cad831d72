// A screen and a network so small that a training step takes milliseconds.
#pragma once

#include "tests/train/data/test_screen.h"
#include "train/setup.h"

namespace mono::test {

// Writes experiments HUVEC-01..03 (train) and HUVEC-04 (test): two plates, four wells of classes
// 0..3, two sites: 16 sites an experiment, 48 for training. Images of 20 x 20 pixels in which the
// class brightens a quadrant, the experiment changes gain and offset, and noise is added.
void write_tiny_screen(const std::filesystem::path& dir);

// Groups of 6 images, two a step, crops of 16 pixels, one epoch is 4 steps (mixed groups) or 3 (one
// experiment a group); further settings in `sets`.
Recipe tiny_recipe(const std::vector<std::string>& sets = {});

// The settings of tiny_recipe, for commands that take a recipe's name and --set.
std::vector<std::string> tiny_sets();

}  // namespace mono::test
