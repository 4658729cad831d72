// Trustworthiness of a layout: whether the neighbours that it shows are neighbours.
//
//   T(k) = 1 - 2 / (n k (2n - 3k - 1)) sum_i sum_j max(0, r(i, j) - k),   j over i's k nearest
//
// rows in the layout; r(i, j) is the rank of j among all other rows by distance from i in the
// features, from 1. 1: every neighbour in the layout is one of the k nearest in the features; 0.5:
// about what a random layout has. Euclidean both times. Of rows at equal distance the lower index
// ranks first.
// Work: rows^2 width multiplications in f64, some 40 s of a core for 10,000 x 384.
// Source: Venna and Kaski 2001; scikit-learn, sklearn.manifold.trustworthiness.
#pragma once

#include "nn/functional/nearest.h"

namespace mono {

// features (n, width), layout (n, any). Error: data where k is not below n / 2.
double trustworthiness(FeatureView features, FeatureView layout, int k = 15);

}  // namespace mono
