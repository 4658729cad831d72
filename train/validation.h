// Validation while a run trains: the k-NN accuracy of validation images among the training images
// (CDCL section 4), and which checkpoint is the best by it.
//
// RUN/validation.jsonl has a row for each. Which one was best is part of every checkpoint's
// state.json, so that a resumed run chooses as an undisturbed one does.
#pragma once

#include <functional>
#include <optional>

#include "models/model.h"
#include "runtime/communicator.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/setup.h"

namespace mono {

// Fraction of validation images whose class the k-NN vote names; nothing where `abandon` said so.
// The same on all ranks.
std::optional<double> validation_accuracy(const RunSetup& setup, const Model& model,
                                          Communicator& ranks,
                                          const std::function<bool()>& abandon);

class Validation {
 public:
  // `saved`: the state of the checkpoint that training goes on from, at step `done`; null for a
  // fresh run. All ranks forward images; the one that writes `run` logs.
  Validation(const RunSetup& setup, const RunDirectory& run, Communicator& ranks, int64_t done,
             const std::optional<JsonView>& saved);

  // Whether one is due after `done` steps and has not been made.
  bool due(int64_t done, int64_t epoch_steps, int64_t total_steps) const;
  // Makes it. False where `abandon` said so; then it stays due.
  bool run(int64_t done, int64_t epoch, const Model& model, const std::function<bool()>& abandon);
  // Whether the last one was the best so far.
  bool is_best() const { return best_.step >= 0 && best_.step == validated_; }
  struct Best {
    int64_t step = -1;  // the checkpoint to keep; -1: none
    double accuracy = -1;
  };
  const Best& best() const { return best_; }
  void set_best(const Best& best) { best_ = best; }  // where the new one could not be saved

  Json state() const;
  std::string text() const;  // "validation k-NN 53.2 % (best so far: 53.2 % after step 1,708)"

 private:
  const RunSetup& setup_;
  Communicator& ranks_;
  const bool enabled_;
  std::optional<MetricsLog> log_;
  int64_t validated_ = -1;
  double accuracy_ = 0;
  Best best_;
};

// The step of the checkpoint that stands for a run: the best by validation, or -1: the newest.
int64_t best_step_of(const JsonView& state);

}  // namespace mono
