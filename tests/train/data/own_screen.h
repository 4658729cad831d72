// A small screen as somebody else might have it, with the screen.toml that describes it.
#pragma once

#include <filesystem>
#include <string>

namespace mono::test {

inline constexpr int kOwnSide = 20;  // pixels

// Three runs ("run 1" to "run 3", the last one tests) of two 96-well plates each, wells B2..B5 with
// three compounds and DMSO, two fields: 16 sites a run. Four channels, images
// plates/BARCODE/B02-f01-405.png.
std::string own_description();  // screen.toml
std::string own_table();        // wells.csv
// Both, and images in which the compound brightens quadrants and the run changes gain and offset.
void write_own_screen(const std::filesystem::path& dir);

}  // namespace mono::test
