// `train_rxrx data report`: one page about a screen. What is there, what it looks like, how far its
// experiments differ, what is missing; and, with a run, whether the untreated wells of an
// experiment lie together in its embedding, before and after the experiment's own statistics.
#pragma once

#include <filesystem>
#include <string>

#include "train/commands.h"

namespace mono {

struct ScreenReportOptions {
  std::filesystem::path data;
  std::filesystem::path cache;  // of `data pack`; empty: the files
  std::filesystem::path run;    // empty: without an embedding
  std::filesystem::path out = "screen.html";
  std::string title;   // empty: the folder's name
  int resize = 0;      // pixels a side of what is measured and shown; 0: as the images are
  bool quick = false;  // look at sizes and headers only for what is damaged
  ComputeOptions compute;
};
// Writes the page, outside of `data`, and prints its figures. 0, whatever is wrong with the screen:
// the page says so.
int run_data_report(const ScreenReportOptions& options);

}  // namespace mono
