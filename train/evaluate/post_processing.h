// Batch correction of embeddings after the fact: whitening, TVN, ComBat. Each takes the rows of all
// parts together and returns as many, in their order; d may become smaller under TVN. Arithmetic in
// f64.
#pragma once

#include <cstdint>
#include <span>

#include "nn/functional/nearest.h"

namespace mono {

// Whitening ("spherize"): y = (x - mean) W with the mean and covariance of the fitted rows, such
// that their covariance becomes the identity.
//   zca       W = V (s + eps)^-1 V^T,  V s^2 V^T the covariance
//   zca_cor   the same of the correlation, after division by each feature's standard deviation
// Directions in which the fitted rows do not vary (s^2 below 1e-10 of the largest) are set to 0
// rather than blown up. eps = 1e-6. Source: Kessy 2018; pycytominer's spherize, but centred first.
enum class Whitening { zca, zca_cor };
struct Whitened {
  Features features;
  int rank = 0;    // directions that were kept
  int fitted = 0;  // rows
};
// fit (rows): 1 where a row is fitted. Errors: data for fewer than two such rows.
Whitened whiten(FeatureView features, std::span<const uint8_t> fit,
                Whitening method = Whitening::zca_cor);

// Typical variation normalisation (Ando 2017), as EFAAR_benchmarking's tvn_on_controls:
//   standardise by the controls; principal components of the controls, all of them; standardise by
//   the controls again; in each domain X_b <- X_b S_b^(-1/2), S_b = cov(controls of b) + 0.5 I
// Standard deviations are the population's, S_b is unbiased. Components in which the controls do
// not vary are left out, so that d may become smaller.
struct Tvn {
  Features features;
  int controls = 0;
  int least_controls = 0;  // of a domain
};
// Errors: data for a domain (by its number) with fewer than two controls.
Tvn tvn(FeatureView features, std::span<const int> domains, std::span<const uint8_t> is_control);

// ComBat (Johnson 2007), parametric empirical Bayes, without covariates, as sva's: its estimates of
// a batch's shift and scale, shrunk towards those of all features, are taken out. Features that do
// not vary within batches stay as they are. Errors: data for a domain with fewer than two rows,
// for fewer than two domains, or fewer than two features that vary.
struct Combat {
  Features features;
  int domains = 0;
  int constant_features = 0;
};
Combat combat(FeatureView features, std::span<const int> domains);

}  // namespace mono
