// `train_rxrx report RUN...`: one page about one run, or about several as a comparison of methods.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "train/report/run_record.h"

namespace mono::report {

struct RunReport {
  std::string html;
  std::vector<std::string> lead;  // its first sentences
  std::vector<std::pair<std::string, std::string>>
      files;  // name, content: the figures by themselves
};

// Never fails for what a run lacks: the page says so where the figure would be. `most_points`:
// images of the UMAP, of more a sample; 0: without it.
RunReport make_report(const std::vector<RunRecord>& runs, int most_points = 20000);

// Writes the page durably, and its figures into the folder FILE_figures beside it ("report.html":
// "report_figures/"), from which other *.svg are removed: they were of an older page. Error:
// storage.
void write_report(const RunReport& report, const std::filesystem::path& file);

}  // namespace mono::report
