// UMAP: rows of features as points of a plane, neighbours staying neighbours.
//
//   graph      the k nearest rows of each (umap_graph.h), less the edges that weigh so little that
//              the descent would never draw them
//   start      the graph's spectral layout (spectral_start.h), spread over [0, 10]^2
//   layout     by stochastic gradient descent on the cross-entropy between w_ij and
//              v_ij = 1 / (1 + a |y_i - y_j|^(2b)): an edge is drawn as often as it weighs, and
//              each time pulls its ends together and pushes one end away from five rows drawn at
//              random; the rate falls from 1 to 0
//
// Defaults are umap-learn 0.5's (min_dist 0.1, spread 1). Draws are a function of (seed, epoch,
// edge), and the descent walks the edges in order on one thread: the same seed gives the same bits
// for any number of threads. Source: McInnes, Healy, Melville 2018 (arXiv 1802.03426), algorithms 1
// and 5.
#pragma once

#include <cstdint>

#include "nn/functional/nearest.h"
#include "train/evaluate/dense.h"

namespace mono {

enum class UmapMetric { euclidean, cosine };  // cosine: 1 - similarity

struct UmapOptions {
  int neighbours = 15;  // the row itself is one of them; fewer where there are not so many rows
  UmapMetric metric = UmapMetric::euclidean;
  int epochs = 0;  // 0: 500 up to 10,000 rows, else 200
  uint64_t seed = 0;
};

struct Umap {
  Features points;  // (rows, 2)
  int neighbours = 0, epochs = 0, components = 1;
};

// Errors: data for fewer than four rows or values that are not finite.
Umap umap(FeatureView features, const UmapOptions& options = {});

}  // namespace mono
