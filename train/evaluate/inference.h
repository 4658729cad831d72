// Forward passes over the images of a screen: read ahead by loader threads, normalised with the
// statistics that were asked for, and handed on batch by batch.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "models/model.h"
#include "nn/domain/norm_observer.h"
#include "train/evaluate/statistics_mode.h"
#include "train/setup.h"

namespace mono {

// One batch: sites (N) and what the model gave for them, on the CPU. Sites come grouped by
// experiment; within a group their order is that of the pass, not of the disk.
using VisitOutputs = std::function<void(std::span<const int> sites, const ModelOutput& output)>;

// The batch-norm statistics of experiments: row r of the table belongs to experiments[r].
struct ExperimentStatistics {
  std::vector<int> experiments;  // ascending; empty where none were computed
  NormStatistics table;
};

// Forwards every one of `sites` (indices into Dataset::sites) exactly once past `visit`, without
// augmentation. The result of an image depends on the set of `sites`, never on their order, on the
// number of threads or loader workers. Returns what the experiment mode computed. `task` names the
// work in the progress line on stderr. Errors: data for an image that cannot be read (named), and
// for an experiment with one image where its statistics are wanted. `observer`, where not null,
// sees the batch norms of each batch before `visit` sees its outputs; not those of the passes that
// only compute statistics.
ExperimentStatistics forward_images(const RunSetup& setup, const Model& model,
                                    std::span<const int> sites, StatisticsMode mode,
                                    const char* task, const VisitOutputs& visit,
                                    NormObserver* observer = nullptr);

// Row `image` of a packed (N, C) matrix of activations, in f32.
std::vector<float> row_of(const Tensor& matrix, int image);

}  // namespace mono
