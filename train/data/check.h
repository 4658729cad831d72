// `data check`: everything that is missing, damaged or mislabelled in a screen, by file and row,
// before an hour is spent on it.
#pragma once

#include "train/data/dataset.h"

#include <map>
#include <string>
#include <vector>

namespace mono {

struct CheckReport {
  std::string root, layout, form;
  int sites = 0;           // rows of the tables (Kaggle: two a row)
  int complete_sites = 0;  // all channels on disk
  int absent_sites = 0;    // sites of wells of which no image exists
  int unlabelled_sites = 0;
  int64_t images_checked = 0;
  std::map<std::string, int> absent_by_experiment;
  std::vector<Problem> problems;   // tables, then tree, then images by site
  std::vector<std::string> notes;  // unusual, not wrong
};

// Checks the images of an open screen, in parallel: files missing from a well that has others;
// every file decoded with all checks of train/data/png.h (quick: signature and header only);
// constant images; two files with the same picture. `report` receives the result.
void check_images(const Dataset& dataset, bool quick, CheckReport& report);

// Tables, tree and images of an open screen; `problems` and `notes` are what opening it found.
CheckReport check_dataset(const Dataset& dataset, std::vector<Problem> problems,
                          std::vector<std::string> notes, bool quick);
// Of the screen at `path`. Throws Error(data) only if no table can be read.
CheckReport check_dataset(const std::filesystem::path& path, bool quick = false);

std::string check_text(const CheckReport& report);
std::string check_json(const CheckReport& report);

}  // namespace mono
