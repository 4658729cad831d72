// The losses of self-supervised learning: DINO, Barlow, and both together as CDCL has them; BYOL.
// And what their heads need besides linear layers: normalised rows, a weight-normed layer.
//
// Rows are view-major: row v * B + b is view v of pair b. Teachers see the first two views and get
// no gradient. Every loss returns a small tensor on the device whose MEAN is the loss (for
// Figures::add_mean), and records the gradient of `weight` times that mean on the tape, seeded as
// cross_entropy_losses does; several losses of one output add up. Temperatures are tensors of one
// f64 on the device, where they may change from step to step.
#pragma once

#include "kernels/base/view_pairs.h"
#include "nn/context.h"

namespace mono {

// Each student view learns from both teacher views but its own (CDCL 2: 8 views, 14 terms). Views
// are in the order global 1 (image 1), global 2 (image 2), local of image 1 (the first half), local
// of image 2. only_cross_domain keeps the terms between different images (8 of the 14). Errors:
// fewer than two views, or an odd number of local ones for only_cross_domain (usage).
ViewPairs view_pairs(int views, bool only_cross_domain = false);

struct DinoOptions {
  bool divide_by_log_k = true;  // CDCL: 1 for a uniform prediction; false: DINO
};
// student (views * B, K) packed; centred (2 * B, K), master type: DomainCentring::centred.
// Returns (views * B).
Tensor dino_losses(const Variable& student, const Tensor& centred, const ViewPairs& pairs,
                   const Tensor& student_temperature, const DinoOptions& options, double weight,
                   const ForwardContext& context);

struct BarlowOptions {
  double diagonal = 0.05, off_diagonal = 0.95;  // of the mean over each
  double divisor = 0.05 + 0.95 * 0.01;          // about 1 where nothing is learnt; 1: none
  double eps = 1e-5;                            // of the batch norm
  // The definition, through a (K,K) matrix; slow, for verification.
  bool direct = false;
};
// The same arguments; the cross-correlation of each pair of views after batch norm of each view.
// Returns (views). Errors: a batch of one pair (usage).
Tensor barlow_losses(const Variable& student, const Tensor& centred, const ViewPairs& pairs,
                     const Tensor& student_temperature, const BarlowOptions& options, double weight,
                     const ForwardContext& context);

// CDCL's loss: dino_weight * DINO + barlow_weight * Barlow (paper: lambda 0.25). A weight of 0
// leaves a loss out: (1, 0) is SSL-DINO's, (0, 1) SSL-DINO-BL's.
struct ConsistencyOptions {
  double dino_weight = 0.25, barlow_weight = 0.75;
  DinoOptions dino = {};
  BarlowOptions barlow = {};
};
struct ConsistencyLosses {
  Tensor dino, barlow;  // without their weights; undefined: left out
};
ConsistencyLosses consistency_losses(const Variable& student, const Tensor& centred,
                                     const ViewPairs& pairs, const Tensor& student_temperature,
                                     const ConsistencyOptions& options,
                                     const ForwardContext& context);

// BYOL: sum over the two views of the mean of 2 - 2 cos(prediction of a view, target of the other
// one). Both (2 * B, C) packed, of one type. Returns (2 * B).
Tensor byol_losses(const Variable& prediction, const Tensor& target, double weight,
                   const ForwardContext& context);
// BYOL-BL: Barlow on R = (BN(p0)^T BN(z1) + BN(p1)^T BN(z0)) / 2 B. Returns (1).
Tensor byol_barlow_losses(const Variable& prediction, const Tensor& target,
                          const BarlowOptions& options, double weight,
                          const ForwardContext& context);

// y = x / max(||x||, eps) of each row of x (N, C) packed.
Variable l2_normalise(const Variable& x, const ForwardContext& context, double eps = 1e-12);

// y = x w^T, w = g v / ||v|| by rows; x (N, in) packed, v (out, in), g (out, 1). train_g false: g
// gets no gradient (DINO's norm_last_layer).
Variable weight_norm_linear(const Variable& x, const Parameter& v, const Parameter& g, bool train_g,
                            const ForwardContext& context);

}  // namespace mono
