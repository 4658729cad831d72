// UMAP's graph: how strongly each row belongs to the neighbourhood of each other one.
//
//   p(j|i) = exp(-max(0, d_ij - rho_i) / sigma_i)   over the k nearest rows, i itself among the k
//   w_ij   = p(j|i) + p(i|j) - p(j|i) p(i|j)        the fuzzy union: symmetric
//
// rho_i is the distance to the nearest row that is not a copy of row i; sigma_i is chosen so that
// the memberships of a neighbourhood sum to log2 k.
// Source: McInnes, Healy, Melville 2018 (arXiv 1802.03426), section 3 and algorithms 2 and 3;
// constants of umap-learn 0.5.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mono {

// A symmetric sparse matrix without a diagonal: row i has to[begin[i] .. begin[i+1]), rising.
struct NeighbourGraph {
  std::vector<int64_t> begin;  // (vertices + 1)
  std::vector<int> to;
  std::vector<double> weight;  // > 0
  int vertices() const { return static_cast<int>(begin.size()) - 1; }
  // A number for each vertex: that of its connected component, from 0, by their lowest vertices.
  std::vector<int> components() const;
};

// distance (rows, k - 1) and index (rows, k - 1): the nearest other rows, rising; k counts the row
// itself, as umap-learn's n_neighbors does.
NeighbourGraph umap_graph(std::span<const int> index, std::span<const double> distance, int rows,
                          int k);

// Without the edges that weigh less than `least`.
NeighbourGraph without_light_edges(const NeighbourGraph& graph, double least);

// The two curves' fit that UMAP lays out by: 1 / (1 + a x^(2b)) to 1 below min_dist and
// exp(-(x - min_dist) / spread) beyond, by least squares at 300 points of [0, 3 spread].
struct UmapCurve {
  double a = 0, b = 0;
};
UmapCurve fit_umap_curve(double min_dist, double spread);

}  // namespace mono
