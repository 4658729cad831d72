// Linear classification of fixed features: softmax regression by SGD, the "Lin." of DINO's
// eval_linear.py on embeddings that exist already.
//
//   SGD, momentum 0.9, lr 1e-3 batch / 256, no weight decay, 100 epochs, lr cosine to 0 by epoch;
//   weights start at N(0, 0.01), biases at 0; batches of a fresh shuffle each epoch, the last one
//   short
// Features are standardised by the mean and standard deviation of the training rows first, so that
// one learning rate suits embeddings of any scale; DINO's, which end in a layer norm, nearly are.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "nn/functional/nearest.h"
#include "train/evaluate/figures.h"

namespace mono {

struct LinearProbeOptions {
  int epochs = 100;
  int batch = 128;
  double lr = 0;  // 0: 1e-3 batch / 256
  double momentum = 0.9;
  uint64_t seed = 0;
  bool standardise = true;
};

// The regression itself, a step at a time.
class LinearProbe {
 public:
  LinearProbe(int width, int classes, double momentum, uint64_t seed);
  ~LinearProbe();

  // One step on rows (B, width) and their classes; returns the mean loss before it.
  double step(FeatureView rows, std::span<const int> labels, double lr);
  // argmax of the logits, the first of equals.
  std::vector<int> predict(FeatureView rows) const;

  // (classes, width) and (classes), for tests and files.
  std::span<float> weight();
  std::span<float> bias();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct LinearProbeResult {
  Share accuracy;              // of the queries whose label is known
  double loss = 0;             // mean over the last epoch of training
  std::vector<int> predicted;  // a query's class
};

// Trains on the bank, answers the queries. Labels are 0..classes-1; -1 in query_labels: unknown.
// Errors: data (values that are not finite), diverged (a loss that is not finite).
LinearProbeResult linear_probe(FeatureView bank, std::span<const int> bank_labels, int classes,
                               FeatureView queries, std::span<const int> query_labels,
                               const LinearProbeOptions& options = {});

}  // namespace mono
