// screen.toml: what a screen of one's own is called and where its images are. An example with every
// key: train/data/README.md. It lies in the folder given as --data.
//
//   [table]     file      the table, .csv or (separated by tabs) .tsv, relative to the folder
//               sites     without a column of sites: fields of each well, numbered from 1 (1)
//   [columns]   experiment*, well*, treatment*, plate, site, control, split, cell_type, moa
//                         each the name of a column, or a text with columns in braces
//   [controls]  negative, positive     values of columns.control, else of columns.treatment
//               treatment              the values of columns.control that are none ([""], unless
//                                      that is listed as one)
//   [split]     test_experiments       or, with columns.split, its values
//               train (["train"]), test (["test"])
//   [plate]     wells*    6, 12, 24, 48, 96, 384 or 1536
//   [images]    file*     the name of an image, a pattern (name_pattern.h) or one for each channel
//               folder    where they are, relative to the screen's folder or absolute (".")
//               white     the count of a 16-bit TIFF that becomes 255 (16384)
//   [channels]  names*    1 to 8
//               files     what stands for {channel} in images.file (["1", "2", ...])
//               colours   "#rrggbb"; white: counts 1 to 255 that are shown at full colour (255)
// * must be there.
#pragma once

#include "train/data/dataset.h"
#include "train/data/name_pattern.h"
#include "train/toml.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace mono {

inline constexpr const char* kScreenFile = "screen.toml";
inline constexpr int kMaxChannels = 8;

// What a text of screen.toml means, and where it stands there.
struct ScreenText {
  NamePattern pattern;
  TomlPlace place;
};

struct ScreenNames {
  std::vector<std::string> list;
  TomlPlace place;
};

struct ScreenFile {
  std::string table;
  int sites_per_well = 1;
  ScreenText experiment, well, treatment;
  std::optional<ScreenText> plate, site, control, split, cell_type, moa;
  ScreenNames negative, positive, no_control;
  ScreenNames test_experiments, train, test;
  int wells = 0;
  std::vector<ScreenText> files;  // [channel], or one for all
  std::string folder;             // "" or ending with '/'
  int tiff_white = 0;
  std::vector<std::string> channel_files;  // [channel]; what {channel} stands for
  std::vector<ChannelDisplay> channels;
};

// True if the folder holds a screen.toml.
bool has_screen_file(const std::filesystem::path& root);

// Throws Error(usage), `DIR/screen.toml:LINE:COL: ...`, for a key that is unknown (with the nearest
// right one), missing, of a wrong type, out of range or at odds with another one.
ScreenFile read_screen_file(const std::filesystem::path& root);

// Without parts that are ".": "./a/./b" is "a/b", "." is "".
std::string without_dots(std::string_view path);

// The canonical name ("B02", "AA05") of a well of a plate of so many wells, from "B2", "b02", ...;
// empty if the plate has none of that name.
std::string well_name(std::string_view text, int wells);
// The last well of such a plate: "H12" of 96.
std::string last_well(int wells);

}  // namespace mono
