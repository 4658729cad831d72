// Where a UMAP layout starts: the graph's own coordinates, the two smoothest vectors over it.
//
//   L = I - D^(-1/2) W D^(-1/2);  (x, y) = its eigenvectors of the second and third smallest values
//
// found by Lanczos with full reorthogonalisation. The smallest value, 0, has the known vector
// D^(1/2) 1, which is kept out. A graph of several connected components has one such layout for
// each, at the place that the first two principal components of the components' centres give it
// (umap-learn: a spectral layout of the centres; either way the distance between components means
// little).
// Source: Belkin and Niyogi 2003; umap-learn 0.5, spectral.py.
#pragma once

#include <cstdint>

#include "nn/functional/nearest.h"
#include "train/evaluate/dense.h"
#include "train/evaluate/umap_graph.h"

namespace mono {

// (vertices, 2), of no particular scale. `features` are the rows behind the vertices. The same for
// any number of threads.
Matrix spectral_start(const NeighbourGraph& graph, FeatureView features, uint64_t seed);

}  // namespace mono
