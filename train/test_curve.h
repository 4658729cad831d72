// The accuracy on the test images while a run trains (RxRx1, Figure 10): RUN/test_curve.jsonl, a
// row every so many epochs. It is recorded and decides nothing: not the weights, not which
// checkpoint stands for the run, not the recipe's hash.
//
// Counted as `evaluate` counts: AdaBN with the experiments' own statistics, others with the running
// averages, each image by itself, images without a class left out.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "models/model.h"
#include "runtime/communicator.h"
#include "train/metrics.h"
#include "train/run_directory.h"
#include "train/setup.h"

namespace mono {

struct TestCurvePoint {
  int64_t step = 0, epoch = 0;
  double accuracy = 0;  // fraction
};

class TestCurve {
 public:
  // `done`: the step that training goes on from; rows after it are cut. All ranks forward images;
  // the one that writes `run` logs.
  TestCurve(const RunSetup& setup, const RunDirectory& run, Communicator& ranks, int64_t done);

  // Whether a row is due after `done` steps: at the end of every test_curve.every_epochs-th epoch
  // and of the run.
  bool due(int64_t done, int64_t epoch_steps, int64_t total_steps) const;
  // Adds it. Nothing where `abandon` said so; then it stays due. While the disk is full rows wait
  // for the next one, or for a checkpoint: a curve is no reason to lose the run.
  std::optional<double> record(int64_t done, int64_t epoch, const Model& model,
                               const std::function<bool()>& abandon);
  void write_rows();  // those that wait

 private:
  const RunSetup& setup_;
  Communicator& ranks_;
  std::optional<MetricsLog> log_;  // none where the recipe asks for no curve, and on other ranks
  std::vector<Json> rows_;         // not yet in the file
  int64_t recorded_ = 0;           // the step of the last row
};

// The rows of a run; empty where there is no such file. Error(data) for a damaged one.
std::vector<TestCurvePoint> read_test_curve(const std::filesystem::path& run);

// Whether a finished run has a row for every epoch that its recipe asks one for.
bool has_test_curve(const std::filesystem::path& run);

}  // namespace mono
