// An embedding of images: a row of numbers for each and what is known about it. From files
// (embeddings.npy with metadata.csv, ours or anybody's) or from memory.
//
// Columns of metadata.csv are found by name: for each of the fields below the first that the table
// has of those known (embedding_set.cpp lists them: ours, RxRx1's, cytomining's), unless a name is
// given. A field without a column is empty, and evaluations that need it are left out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nn/functional/nearest.h"
#include "train/data/dataset.h"
#include "train/evaluate/embedding_columns.h"

namespace mono {

// A column of names as numbers: 0.. in numerical order where all names are integers, else in the
// order of their bytes; -1 where a row has none.
struct Coding {
  std::string column;   // of metadata.csv; empty: there is none
  std::vector<int> of;  // (rows); empty: there is none
  std::vector<std::string> names;

  bool known() const { return !of.empty(); }
  int count() const { return static_cast<int>(names.size()); }
};
Coding encode(std::string column, const std::vector<std::string>& values);

enum class Part : uint8_t { train, validation, test };
const char* name_of(Part part);

struct EmbeddingSet {
  Features features;
  std::vector<std::string> ids;  // names of rows for messages; may be empty
  Coding label;                  // what is classified: treatments and controls
  Coding treatment;              // where that is something else than the label
  Coding treatment_name;         // what people call treatments; numbers are no names
  Coding cell_type;
  Coding domain;                    // the batch: experiment, or plate
  Coding plate, well;               // named with their batch: plates are numbered anew in each
  Coding moa, compound;             // moa: -1 also where the table says unknown
  std::string well_type_column;     // empty: none
  std::vector<WellType> well_type;  // (rows) or empty
  std::string part_column;
  std::vector<Part> part;  // (rows) or empty: there are no parts

  int rows() const { return features.rows; }
  // What replicates share.
  const Coding& treatments() const { return treatment.known() ? treatment : label; }
  std::vector<uint8_t> negative_controls() const;  // (rows); all 0 where well types are unknown
  std::vector<uint8_t> controls() const;           // positive ones as well
  // The rows whose mark is not 0, in order; codings keep their numbers.
  EmbeddingSet subset(const std::vector<uint8_t>& marks) const;
};

// Reads DIR/embeddings.npy and DIR/metadata.csv. Errors: data for a file that is not what it should
// be, a number of rows that differs between the two (both are named), a column that was asked for
// and is not there, a value of an embedding that is not finite (row and column are named), a part
// or well type that is not known.
EmbeddingSet read_embeddings(const std::filesystem::path& folder,
                             const EmbeddingColumns& columns = {});

}  // namespace mono
