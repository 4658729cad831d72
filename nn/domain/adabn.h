// AdaBN at evaluation: the batch-norm statistics of a whole domain (RxRx1, section 4.2; Li et al.
// 2016, "Revisiting batch normalization for practical domain adaptation").
//
//   training      each group comes from one experiment d and is normalised with its own statistics
//   evaluation    y = relu(gamma * (x - mean[d]) / sqrt(variance[d] + eps) + beta)
//   pass 1        the images of d, in groups as large as those of training, forward with batch
//                 statistics; per layer
//                   mean[d]     = sum_g n_g mean_g / n
//                   variance[d] = sum_g n_g (variance_g + (mean_g - mean[d])^2) / n
//   pass 2        every image of d forward with mean[d] and variance[d]
//
// What it corrects: an experiment shifts and scales the activations of all its images alike
// (staining, illumination, cell density). Statistics learned from other experiments leave that
// shift in every layer; those of the experiment itself remove it, without labels and without
// touching a weight. Pass 1 uses batch statistics in the layers below as well, because that is
// what the weights above were trained on.
//
// The paper says "statistics from individual domain distributions ... both during training and at
// test time" and gives no recipe. This one gives the same result for any order of the images, any
// batch size of pass 2 and any number of threads. It costs one forward pass more.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "nn/context.h"

namespace mono {

// The groups of pass 1. `images` are ids whose ascending order is a property of the data (never of
// the disk or of threads); they are permuted by Philox(seed, statistics_groups, domain) and cut
// into round(n / group_size) groups whose sizes differ by at most one. Every image is in exactly
// one group, every group has at least two images. Errors: fewer than two images (data).
std::vector<std::vector<int>> balanced_groups(std::vector<int> images, int group_size,
                                              uint64_t seed, uint32_t domain);

// Runs the model on a group: the images named by `group`, in this order, with `context`.
using ForwardGroup = std::function<void(std::span<const int> group, const ForwardContext& context)>;

// Pass 1: forwards each group with its batch statistics and leaves the domain's in row `row` of
// `statistics`, whose counts there must still be 0. Merged in double, in the order of the groups.
// Several ranks take the groups in turn and all have the result; the same bits for any number of
// them. False, and nothing in the row, where `abandon` says so on any rank; it is asked before each
// round of groups.
bool domain_statistics(const NormLayers& layers, std::span<const std::vector<int>> groups,
                       const ForwardGroup& forward, NormStatistics& statistics, int row,
                       Communicator& ranks = single_process(),
                       const std::function<bool()>& abandon = {});

}  // namespace mono
