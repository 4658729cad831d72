// AdamW (or Adam with L2) over the arena, with clipping by the global norm (CDCL;
// torch.optim.AdamW, torch.optim.Adam, torch.nn.utils.clip_grad_norm_).
#pragma once

#include <functional>

#include "kernels/adamw/adamw.h"
#include "runtime/parameter_arena.h"

namespace mono {

// DINO's rule: vectors and everything called *.bias have no weight decay; matrices, kernels, tokens
// and position embeddings have.
bool decays_by_dimension(const Parameter& parameter);

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  bool decoupled = true;  // false: Adam, whose decay is added to the gradient (L2)
  double max_norm = 0;    // of the gradient of the whole arena; 0: no clipping
  std::function<bool(const Parameter&)> decays = decays_by_dimension;
  // Parameters that AdamWStep::frozen holds for a while, e.g. DINO's last layer; none by default.
  std::function<bool(const Parameter&)> freezable = {};
  // Parameters that never change, e.g. a frozen weight_g; none by default. Their gradients count in
  // the norm: leave them unwritten.
  std::function<bool(const Parameter&)> fixed = {};
};

// What changes from step to step.
struct AdamWStep {
  double lr = 0, weight_decay = 0;
  double grad_scale = 1;  // multiplies the gradients before their norm is taken
  bool frozen = false;    // freezable parameters, their moments and their step counts stay
};

class AdamW {
 public:
  AdamW(ParameterArena& arena, AdamWOptions options);

  // A step in two halves: begin_step counts it and sends its numbers to the device, so that a
  // captured apply() finds those of each replay there.
  void begin_step(const AdamWStep& step);
  void apply(const Tensor& gradients);
  void step(const Tensor& gradients, const AdamWStep& numbers) {
    begin_step(numbers);
    apply(gradients);
  }

  // The norm of the last step's gradients, before clipping: (1) f64 on the device. With max_norm.
  Tensor gradient_norm() const;

  // State, for checkpoints: two arrays, and how many steps the parameters have taken.
  struct Counts {
    int64_t always = 0, freezable = 0;
  };
  const Tensor& first_moment() const { return first_; }
  const Tensor& second_moment() const { return second_; }
  const Counts& counts() const { return counts_; }
  void restore(const Counts& counts) { counts_ = counts; }

 private:
  // Group 2 f + d: f freezable, d decays; the last one is fixed.
  static constexpr int kGroups = 5, kFixed = 4;
  struct Numbers {  // in device memory
    AdamWRates rates[kGroups];
    double scale;
  };
  const Numbers* numbers() const;

  ParameterArena& arena_;
  AdamWOptions options_;
  AdamWProblem problem_;
  Tensor first_, second_;
  std::vector<AdamWRun> runs_;
  Tensor runs_on_gpu_;  // the same; undefined on the CPU
  Tensor numbers_;      // one Numbers
  Tensor clipped_;      // squares, norm, factor (f64)
  Counts counts_;
};

}  // namespace mono
