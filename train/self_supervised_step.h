// One step of self-supervision on pairs of images: DINO, BYOL, their cross-batch versions, and
// CDCL.
//
//   T  <- teacher(two global views), no tape;  Tc = (T - C_d) / tau_t
//   S  <- student(all views): a packed batch for each size, drop path, one head for all
//   DINO    sum over the terms of w_dino DINO(Tc, S) + w_barlow Barlow(Tc, S)
//   BYOL    2 - 2 cos(predict(S_a), T_b) of both views, or Barlow on the same outputs
//   backward, clip to the global norm, AdamW (the last layer stands still in the first epoch)
//   teacher <- beta teacher + (1 - beta) student;  C_d <- towards the teacher's outputs;  probe
//
// CDCL is DINO with pairs across domains, a centre for each domain, and both losses.
// Source: CDCL (Haslum et al., MIDL 2023) section 3, and its published code.
#pragma once

#include "models/self_supervised.h"
#include "nn/domain/domain_centring.h"
#include "nn/optim/ema.h"
#include "train/collapse.h"
#include "train/probe.h"
#include "train/views_step.h"

namespace mono {

// The student's without the predictor.
SelfSupervisedConfig teacher_config(const RunSetup& setup);
// tau_t in an epoch (0, 1, ...).
double teacher_temperature(const Recipe::SelfSupervised& ssl, int64_t epoch);

class SelfSupervisedStep final : public ViewsStep {
 public:
  // `model`: the student, of make_model(). All must outlive this. The teacher begins as its copy.
  SelfSupervisedStep(const RunSetup& setup, SelfSupervised& model,
                     Communicator& ranks = single_process());

  void start(int64_t first, int64_t last, int workers) override;
  TrainingState state() override;
  // DINO: the teacher; BYOL: the student.
  const Model& evaluated() const override;

 private:
  enum { kDino = kOwnFigures, kBarlow, kByol, kProbeLoss, kProbeCorrect, kFigures };

  void accumulate(int64_t step, int group, const ViewBatch& batch,
                  const ForwardContext& context) override;
  void accumulate_dino(int64_t step, int group, const ViewBatch& batch,
                       const ForwardContext& context);
  void accumulate_byol(int64_t step, int group, const ViewBatch& batch,
                       const ForwardContext& context);
  bool loss_joins_groups() const override { return recipe_.ssl.barlow_global; }
  void join_losses() override;
  void join_groups(int64_t step) override;
  void follow(int64_t step) override;
  void report(int64_t step, const std::vector<double>& values, StepFigures& figures) override;

  // Records the losses of `pairs` pairs with the gradient of `weight` times them, and adds their
  // figures. Rows of both by view.
  void add_losses(const Variable& student, const Tensor& teacher, int pairs, double weight,
                  const ForwardContext& context);
  // Puts a group's rows into those of all groups.
  void keep(const Tensor& rows, int group, Tensor& all) const;
  // Fills in what the teachers of other ranks gave.
  void gather_teachers();
  // Rows of all groups, by view within a group, as rows by view.
  Tensor by_view(const Tensor& by_group) const;
  bool is_dino() const { return recipe_.method == Method::dino; }

  SelfSupervised& student_;
  SelfSupervised teacher_;
  Ema ema_;
  CosineSchedule momentum_;
  DomainCentring centring_;  // DINO's
  Tensor student_temperature_, teacher_temperature_;
  std::optional<Probe> probe_;
  CollapseMeter collapse_;
  SegmentTable global_, local_;  // DINO: all crops of a size, in a group, are one segment
  SegmentTable views_;           // BYOL: two views, each with batch statistics of its own
  NormStatistics statistics_;    // of them, the student's: two rows a group
  // Of all groups of the step, one after the other: what the losses took from the teacher...
  Tensor outputs_, compared_;       // (2B, K) as they are, and as the loss saw them
  std::vector<int> domains_;        // (2B) of these rows
  std::vector<Variable> students_;  // ssl.barlow_global: what losses compare, of this rank's groups
  Tensor features_;                 // ... and the probe from the network: (B, D) of the anchors
  std::vector<int> labels_;         // (B)
};

}  // namespace mono
