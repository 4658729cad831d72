// One training step on a batch that stays the same: what `bench` times, and what a captured step
// is compared with.
#pragma once

#include "models/model.h"
#include "nn/functional/figures.h"
#include "nn/optim/sgd.h"
#include "runtime/gradient_reducer.h"

namespace mono {

class TimedStep {
 public:
  virtual ~TimedStep() = default;
  // Enqueues only; the same work at each call.
  virtual void run() = 0;
  // The loss of the last step, before its update. Waits for it.
  virtual double loss() const = 0;
  // What the tape held when the last backward began, bytes.
  virtual int64_t saved_bytes() const = 0;
};

// A supervised step of a classifier: forward, loss, backward, SGD.
class BenchStep final : public TimedStep {
 public:
  // Random images and labels, the same for every device and precision. The gradient goes over
  // `ranks` in buckets. Model and ranks must outlive this.
  BenchStep(Model& model, int batch, int image_size, int channels, int classes, DType dtype,
            Communicator& ranks = single_process(), const SumOptions& sums = {});

  void run() override;
  double loss() const override { return figures_.read()[0]; }
  int64_t saved_bytes() const override { return saved_bytes_; }

 private:
  Model& model_;
  Tensor images_, targets_;
  GradientReducer reducer_;
  SegmentTable segments_;
  NormStatistics recorded_;
  Sgd optimiser_;
  Figures figures_;
  int64_t saved_bytes_ = 0;
};

}  // namespace mono
