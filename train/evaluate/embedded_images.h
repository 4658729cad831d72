// Embeddings of images in memory, with what figures sort them by: experiment, cell type, treatment.
#pragma once

#include <string>
#include <vector>

#include "train/evaluate/embedding_set.h"
#include "train/evaluate/trained_run.h"

namespace mono {

struct EmbeddedImages {
  std::string title;  // what it is a picture of: "AdaBN"
  Features features;  // (images, width), as the network gives them
  Coding experiment;  // the batch
  Coding cell_type;   // unknown: all images are of one
  Coding treatment;   // classes, controls included; -1: unknown

  int images() const { return features.rows; }
  // The rows whose mark is not 0, in order; codings keep their numbers.
  EmbeddedImages subset(const std::vector<uint8_t>& marks) const;
  // Of that cell type alone. Error: usage where there is none of that name.
  EmbeddedImages of_cell_type(const std::string& name) const;
  // Of the cell type that most experiments are of (of RxRx1: HUVEC); everything where cell types
  // are unknown.
  EmbeddedImages of_widest_cell_type() const;
};

// The images that a run's figures are made of (TrainedRun::sites), forwarded; batch norms with the
// statistics that the run was trained for. Errors as forward_images.
EmbeddedImages embedded_images(const TrainedRun& run, std::string title);

// The images of the part that is asked: test, where there are parts. A set has no cell types.
EmbeddedImages embedded_images(const EmbeddingSet& set, std::string title);

}  // namespace mono
