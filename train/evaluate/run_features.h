// The features of a run's images and what is known of each, forwarded once and kept:
//
//   RUN/evaluation/features/embeddings.npy   (images, width)
//   RUN/evaluation/features/metadata.csv     as `embed` writes it; `evaluate --embeddings` reads it
//   RUN/evaluation/features/features.json    what they were made from (FeatureOrigin), and the
//   parts
//
// Of the columns of metadata.csv, Metadata_Domain is what data.domain_key says, Metadata_Class the
// run's class and Metadata_Predicted its classifier's answer, both as numbers.
//
// Every evaluation and figure of features starts here. What is there is used as it is, without the
// screen, as long as its origin holds.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "runtime/communicator.h"
#include "train/evaluate/embedding_set.h"
#include "train/evaluate/statistics_mode.h"
#include "train/evaluate/trained_run.h"
#include "train/json.h"

namespace mono {

// What features are made from. A file that keeps it is fresh as long as it holds.
struct FeatureOrigin {
  int64_t step = 0;
  std::string recipe_hash;
  std::string checkpoint;  // hash of its manifest, which carries that of the weights
  std::string data;        // path of the screen
  std::string statistics;  // of batch norm
  std::map<std::string, std::string> tables;  // of the screen, with screen.toml: path -> hash

  void enter(Json& json) const;
  // Whether `json`, which entered an origin, has this one. The tables are compared with those on
  // disk, as far as they can be read: features outlive their screen.
  bool is_that_of(const JsonView& json) const;
};

struct RunFeatures {
  // Labels are the run's classes, domains what data.domain_key says (the pairs' domains), the
  // training part is the k-NN bank: all training images, also those that data.subset leaves out.
  // Rows by site id, whatever the part.
  EmbeddingSet set;
  // (rows) the class of an image and the one that the run's classifier names, numbered as the run
  // does; -1: unknown. `answers` is empty where the run has no trained classifier.
  std::vector<int> classes, answers;
  FeatureOrigin origin;

  int count(Part part) const;  // rows
};

struct FeatureOptions {
  std::vector<Part> parts = {Part::train, Part::test};
  std::filesystem::path data, cache;  // empty: those that the run was trained on
  std::string statistics;             // of batch norm; empty: as the recipe trains
  Device device = Device::cpu;
  Communicator* ranks = &single_process();  // all of them call; rank 0 reads and writes files
};

// Of the features that features_of() gives for these options, but for the tables, which the screen
// itself would have to name. Errors: those of load_run_checkpoint().
FeatureOrigin origin_of(const std::filesystem::path& run, const FeatureOptions& options = {});

// Reads the files above, or opens the run, forwards and writes them. Of several ranks, all forward,
// and only rank 0 is given the features. Errors: those of load_run(); data for a part without
// images.
RunFeatures features_of(const std::filesystem::path& run, const FeatureOptions& options = {});

// The images of a part, as features_of() takes them.
const std::vector<int>& sites_of(const Split& split, Part part);

// Forwards the parts of a run that is open and writes embeddings.npy and metadata.csv into
// `folder`, on rank 0. Returns the number of numbers an image.
int write_embedding(const TrainedRun& run, const std::vector<Part>& parts, StatisticsMode mode,
                    const std::filesystem::path& folder, Communicator& ranks = single_process());

}  // namespace mono
