// Embeddings of images in memory, with what figures sort them by: experiment, cell type, treatment.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "train/evaluate/embedding_set.h"

namespace mono {

struct EmbeddedImages {
  std::string title;          // what it is a picture of: "AdaBN"
  Features features;          // (images, width), as the network gives them
  Coding experiment;          // the batch
  Coding cell_type;           // empty: unknown
  Coding treatment;           // classes, controls included; -1: unknown
  std::string of = "images";  // which images they are: "test images"
  std::string run = {};       // which of the method's runs: "seed 1"; empty: nothing to tell

  int images() const { return features.rows; }
  // The rows whose mark is not 0, in order; codings keep their numbers.
  EmbeddedImages subset(const std::vector<uint8_t>& marks) const;
  // Of the cell type that most experiments are of (of RxRx1: HUVEC); everything where cell types
  // are unknown.
  EmbeddedImages of_widest_cell_type() const;
};

// The test images of a set, or all of its images where none is of that part. Treatments go by their
// names where the set has names. Error: data where batches are unknown.
EmbeddedImages embedded_images(const EmbeddingSet& set, std::string title);

// For captions. "test images"; where methods differ, "test images (AdaBN), training images (ERM)".
std::string images_of(std::span<const EmbeddedImages> methods);
// " Of each method one run is shown: seed 1."; nothing where no method has something to tell.
std::string runs_of(std::span<const EmbeddedImages> methods);

}  // namespace mono
