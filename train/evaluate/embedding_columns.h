// Which columns of an embedding's metadata.csv say what.
#pragma once

#include <string>

namespace mono {

// Names of columns; empty: the first that the table has of those that are known.
struct EmbeddingColumns {
  // What grit and MoA group by, where that is not the label: no column unless one is named.
  std::string treatment;
  std::string label, domain, plate, well, well_type, moa, compound, part;
  // The value of the well-type (or else the label) column that marks a negative control; empty:
  // negative_control, negcon, control, DMSO, EMPTY, whatever their case.
  std::string negative_control;
};

}  // namespace mono
