// Domain centring: the teacher's outputs, centred by the domain that they come from (CDCL, Fredin
// Haslum et al. 2023, section 3.3 "Batch-wise centering"; one centre for all: DINO, Caron et al.
// 2021).
//
//   P_T = softmax((f_T(x) - C_d) / temperature)                 d: the domain of image x
//   C_d <- (1 - a w_d) C_d + a w_d m_d,   a = 1 - momentum      m_d: mean of f_T over the rows of d
//   w_d = (share of d in the batch) / (share of d in the training images), at most 10
//
// What it corrects: DINO's centre keeps the teacher from giving all images one output. Where images
// come from domains that differ more than treatments do, it may still give all images of one domain
// one output: a solution that is not collapsed over the whole set, and reads nothing but the batch
// effect. With a centre per domain the outputs of every domain by itself have mean zero, so that no
// prototype can belong to a domain, and each domain spreads over the whole output.
//
// The paper says "exponential moving average" and prints the softmax without the temperature; w_d
// and the order (centre, then temper) are the published code's. With w_d a rare domain, seldom in a
// batch, moves further each time: where rows are drawn from all training images alike, its expected
// step is that of momentum 0.9 per batch, whatever its frequency. Partners from other domains show
// rare domains more often than that. Above 10 the step would overshoot, so w_d stops there.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/tensor.h"

namespace mono {

struct CentringOptions {
  bool per_domain = true;  // false: one centre for all rows
  bool weighted = true;    // w_d as above; false: 1 for every domain that is in the batch
  double momentum = 0.9;
  double most_weight = 10;  // momentum 0.9: where a step reaches the mean itself
};

// w_d of a domain with `count` of a batch's `rows` rows and `share` of the training images.
double domain_weight(int count, int rows, double share, double most_weight);

class DomainCentring {
 public:
  DomainCentring() = default;
  // images_of_domain: training images of each domain; a domain may have none. Centres start at 0,
  // in `master` (f32 or f64), on `device`. Errors: no domain or no image (usage).
  DomainCentring(std::span<const int64_t> images_of_domain, int K, DType master, Device device,
                 const CentringOptions& options = {});

  // (teacher - C_d) / temperature, (rows, K) in the master type. teacher (rows, K) packed; domains
  // (rows) i32, ids below domains(), ignored (and may be undefined) with one centre; temperature:
  // one f64. All on the centres' device.
  Tensor centred(const Tensor& teacher, const Tensor& domains, const Tensor& temperature) const;

  // Moves the centres towards the rows of `teacher` (not centred). A domain without rows keeps its
  // centre to the bit. What `centred` returned before stays as it is.
  void update(const Tensor& teacher, const Tensor& domains);

  // (domains() or 1, K): the state, which a checkpoint saves and restores in place.
  const Tensor& centres() const { return centres_; }
  int domains() const { return centres_.shape()[0]; }
  const CentringOptions& options() const { return options_; }

 private:
  const int* ids(const Tensor& teacher, const Tensor& domains) const;

  CentringOptions options_;
  Tensor centres_;
  Tensor shares_;  // f64 (domains): of the training images
};

}  // namespace mono
