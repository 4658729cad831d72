// The figures of an evaluation, from what was predicted for each image (RxRx1, section 5; Tables 1
// and 3).
//
// An image counts by itself: no averaging over the two sites of a well, no test-time augmentation,
// all classes compete (controls and untreated included). Accuracy is the mean over images, overall
// and within a cell type or an experiment. Batch accuracy is the share of images whose
// experiment the batch head names; it has a meaning only where the head has seen all experiments,
// in the stratified split.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/data/dataset.h"

namespace mono {

struct Classified {
  int site = 0;                   // index into Dataset::sites
  int experiment = 0;             // the true one
  int label = -1;                 // the true class; -1: unknown
  int predicted = 0;              // argmax of the main head
  int predicted_experiment = -1;  // argmax of the batch head; -1: there is none
  double loss = 0;                // cross-entropy of the main head; 0 where the label is unknown
};

struct Share {
  int64_t correct = 0, images = 0;
  double value() const { return static_cast<double>(correct) / static_cast<double>(images); }
};

struct AccuracyFigures {
  int64_t images = 0;  // all; the shares count those whose label is known
  Share overall;
  double loss = 0;                             // mean over the labelled images
  std::map<std::string, Share> by_cell_type;   // by name
  std::map<std::string, Share> by_experiment;  // by name
  std::optional<Share> batch;                  // where there is a batch head; over all images
};

// Losses are added in the order of `images`. `dataset` gives the names of experiments and cell
// types.
AccuracyFigures figures_of(const std::vector<Classified>& images, const Dataset& dataset);

}  // namespace mono
