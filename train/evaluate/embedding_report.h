// Every evaluation of an embedding that its metadata allow: as it is, Z-normed in three ways, and
// after TVN, ComBat and whitening.
//
// The bank is the training part, the queries are the test part (the validation part where there is
// no test part). Without two parts each row is asked against all rows of other wells
// (leave-one-out). Z-norm standardises bank and queries each by itself; the other corrections are
// fitted to both together: TVN to the negative controls (once more to all controls, where there are
// positive ones), whitening to the negative controls where there are ten for each feature, and else
// to the bank. kBET and grit are of one part at a time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/evaluate/embedding_set.h"
#include "train/evaluate/kbet.h"
#include "train/evaluate/knn.h"
#include "train/evaluate/linear_probe.h"
#include "train/json.h"

namespace mono {

struct ReportOptions {
  KnnOptions knn;
  KbetOptions kbet;
  LinearProbeOptions probe;
  bool linear_probe = true;
  bool post_processing = true;  // the rows after TVN, ComBat and whitening
};

// What stands behind a number, by name, in the order of being said.
struct Counts {
  Json::Object entries;
  Json& operator[](const char* key) { return entries.emplace_back(key, Json()).second; }
};

// "samples 276, neighbours 10, form consistent"
std::string text_of(const Counts& counts);

// One number, or the reason why there is none.
struct Measure {
  std::string key;              // "knn", "kbet_test"
  std::optional<double> value;  // a share 0..1 where `percent`
  bool percent = true;
  Counts counts;         // samples, neighbours, controls behind it
  std::string left_out;  // the reason; empty where there is a value
};

struct ReportRow {
  std::string key, title;  // "z_norm_all", "Z-norm (all)"
  bool headline = false;   // the row that stands for Z-norm
  std::string left_out;    // why the whole row is missing
  Counts counts;           // what the correction was fitted to
  std::vector<Measure> measures;
};

struct EmbeddingReport {
  int rows = 0, width = 0;           // of the whole set
  Json about = Json::object();       // columns, parts, batches, classes, controls
  std::string bank, queries;         // in words: "39342 train images of 16 batches"
  std::vector<std::string> columns;  // keys of measures, in the order of the table
  std::vector<ReportRow> table;
};

// Errors: data where there is nothing to evaluate (no labels and no batches). What cannot be
// computed is a measure with a reason.
EmbeddingReport report_on(const EmbeddingSet& set, const ReportOptions& options = {});

std::string report_text(const EmbeddingReport& report);
Json report_json(const EmbeddingReport& report);

}  // namespace mono
