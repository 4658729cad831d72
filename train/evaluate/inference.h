// Forward passes over the images of a screen: read ahead by loader threads, normalised with the
// statistics that were asked for, and handed on batch by batch. Several ranks take the batches in
// turn, and each is handed all of them.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/model.h"
#include "nn/domain/norm_observer.h"
#include "runtime/communicator.h"
#include "train/evaluate/statistics_mode.h"
#include "train/setup.h"

namespace mono {

// One batch: sites (N) and what the model gave for them, on the CPU. Sites come grouped by
// experiment where statistics are an experiment's or a group's, otherwise in ascending order.
using VisitOutputs = std::function<void(std::span<const int> sites, const ModelOutput& output)>;

// The batch-norm statistics of experiments: row r of the table belongs to experiments[r].
struct ExperimentStatistics {
  std::vector<int> experiments;  // ascending; empty where none were computed
  NormStatistics table;
};

struct InferenceOptions {
  std::string task;  // in the progress line on stderr
  StatisticsMode mode = StatisticsMode::running;
  // Sees the batch norms of each batch before its outputs are visited; not those of the passes that
  // only compute statistics, nor of other ranks. May be null.
  NormObserver* observer = nullptr;
  // All of these ranks call with the same arguments; `visit` is called alike on each.
  Communicator* ranks = &single_process();
  // Asked before every batch; what it says on any rank ends the work on all.
  std::function<bool()> abandon = {};
};

// Forwards every one of `sites` (indices into Dataset::sites) exactly once past `visit`: images of
// groups as they are, images of views as evaluation_views() has them. The result of an image
// depends on the set of `sites`, never on their order, on the number of threads, loader workers or
// ranks. Returns what the experiment mode computed; nothing if it was abandoned. Errors: data for
// an image that cannot be read (named), and for an experiment with one image where its statistics
// are wanted.
std::optional<ExperimentStatistics> forward_images(const RunSetup& setup, const Model& model,
                                                   std::span<const int> sites,
                                                   const InferenceOptions& options,
                                                   const VisitOutputs& visit);

// Row `image` of a packed (N, C) matrix of activations, in f32.
std::vector<float> row_of(const Tensor& matrix, int image);

}  // namespace mono
