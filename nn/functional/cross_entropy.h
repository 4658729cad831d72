// The loss: softmax cross-entropy against soft targets, mean over the batch.
#pragma once

#include "nn/context.h"

namespace mono {

// logits (N,K) packed; targets (N,K) f32, rows sum to 1. Returns the loss of each image (N), on the
// device. Backward of the tape starts here, with `weight` times their mean: its own gradient is 1
// and is seeded by this function.
Tensor cross_entropy_losses(const Variable& logits, const Tensor& targets, double weight,
                            const ForwardContext& context);

// The same; returns `weight` * mean loss, for which it waits.
double soft_cross_entropy(const Variable& logits, const Tensor& targets, double weight,
                          const ForwardContext& context);

}  // namespace mono
