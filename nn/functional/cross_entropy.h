// The loss: softmax cross-entropy against soft targets, mean over the batch.
#pragma once

#include "nn/context.h"

namespace mono {

// logits (N,K) packed; targets (N,K) f32, rows sum to 1. Returns `weight` * mean loss; backward of
// the tape starts here: its own gradient is 1 and is seeded by this function.
double soft_cross_entropy(const Variable& logits, const Tensor& targets, double weight,
                          const ForwardContext& context);

}  // namespace mono
