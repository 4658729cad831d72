// One whole step of CDCL on views that stay the same: what `bench --step cdcl` times.
//
// Teacher on two global views, student on two global and six local ones, DINO with a centre per
// domain and the Barlow term, backward, clipping, AdamW, moving average, centres. The published
// sizes of head and losses; no loader, no probe.
#pragma once

#include "models/self_supervised.h"
#include "nn/domain/domain_centring.h"
#include "nn/functional/figures.h"
#include "nn/functional/self_supervised.h"
#include "nn/optim/adamw.h"
#include "nn/optim/ema.h"
#include "train/bench_step.h"

namespace mono {

class BenchCdclStep final : public TimedStep {
 public:
  // `backbone`: a DeiT of the registry. Random views of `pairs` pairs (2 or more), global ones of
  // `image_size` pixels, local ones of half of it; both must suit the backbone's patches.
  BenchCdclStep(const std::string& backbone, int pairs, int image_size, int channels, DType dtype,
                Device device);

  void run() override;
  double loss() const override { return figures_.read()[0]; }
  int64_t saved_bytes() const override { return saved_bytes_; }

 private:
  SelfSupervised student_, teacher_;
  ViewPairs pairs_;
  Tensor global_, local_, domains_, student_temperature_, teacher_temperature_, gradient_;
  SegmentTable global_segment_, local_segment_;
  DomainCentring centring_;
  AdamW optimiser_;
  Ema ema_;
  Figures figures_;
  int64_t saved_bytes_ = 0;
};

}  // namespace mono
