// Supervised training on crops (the baseline of CDCL's Table 1): one view of every image,
// cross-entropy with its class, the whole network fine-tuned.
#pragma once

#include "train/views_step.h"

namespace mono {

class SupervisedStep final : public ViewsStep {
 public:
  // All must outlive this.
  SupervisedStep(const RunSetup& setup, Model& model, Communicator& ranks = single_process());

 private:
  enum { kCorrect = kOwnFigures, kFigures };
  void accumulate(int64_t step, int group, const ViewBatch& batch,
                  const ForwardContext& context) override;
  void join_groups(int64_t step) override;
  void follow(int64_t step) override;
  void report(int64_t step, const std::vector<double>& values, StepFigures& figures) override;

  SegmentTable segment_;       // a group, for backbones with batch norms
  NormStatistics statistics_;  // a row a group
};

}  // namespace mono
