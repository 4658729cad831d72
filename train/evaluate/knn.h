// k-nearest-neighbour classification by cosine, the CDCL paper's k-NN column.
//
//   class of a query = argmax over classes of the sum of exp(s / T) over its k nearest bank rows
//
// k = 10, T = 0.1; of equal sums the lowest class. Every bank row counts, the 31 controls of RxRx1
// are classes like any other.
// Source: CDCL's trainer (knn_predict); DINO's has T = 0.07. Exact neighbours: nearest.h.
#pragma once

#include <span>
#include <vector>

#include "nn/functional/nearest.h"
#include "train/evaluate/figures.h"

namespace mono {

struct KnnOptions {
  int k = 10;
  double temperature = 0.1;
};

struct Knn {
  Share accuracy;              // over the queries whose label is known
  std::vector<int> predicted;  // a query's class
};

// Labels are classes from 0 on; -1 in query_labels: unknown, predicted but not counted. Errors as
// those of nearest(); data where the bank has fewer than k rows; internal for a negative bank
// label.
Knn knn(FeatureView bank, std::span<const int> bank_labels, FeatureView queries,
        std::span<const int> query_labels, const KnnOptions& options = {});

// Bank and queries are the same rows; a row is not its own neighbour, nor are rows of its group
// where groups are given (the wells: sites of one well are not independent). Rows with label -1 are
// neither in the bank nor counted; their prediction is -1.
Knn knn_leave_one_out(FeatureView features, std::span<const int> labels,
                      std::span<const int> groups = {}, const KnnOptions& options = {});

}  // namespace mono
