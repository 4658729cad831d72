#include "nn/optim/adamw.h"

#include <array>

#include "kernels/elementwise/elementwise.h"
#include "runtime/copy.h"

namespace mono {

bool decays_by_dimension(const Parameter& parameter) {
  return parameter.shape.rank() > 1 && !parameter.name.ends_with(".bias");
}

AdamW::AdamW(ParameterArena& arena, AdamWOptions options)
    : arena_(arena),
      options_(std::move(options)),
      problem_{arena.size(), options_.beta1, options_.beta2, options_.eps},
      first_(arena.new_array()),
      second_(arena.new_array()),
      numbers_(on_device<Numbers>(std::array{Numbers{}}, first_.device())),
      clipped_(Tensor::zeros({3}, DType::f64, first_.device())) {
  const auto group_of = [&](const Parameter& p) {
    if (options_.fixed && options_.fixed(p)) return kFixed;
    return 2 * (options_.freezable && options_.freezable(p)) + options_.decays(p);
  };
  // The arena runs backwards through the parameters; neighbours of one group are one run.
  for (auto p = arena.parameters().rbegin(); p != arena.parameters().rend(); ++p) {
    const int group = group_of(*p);
    if (!runs_.empty() && runs_.back().group == group) continue;
    if (!runs_.empty()) runs_.back().end = p->offset;
    runs_.push_back({p->offset, arena.size(), group});
  }
  if (first_.device() != Device::cpu) runs_on_gpu_ = on_device<AdamWRun>(runs_, first_.device());
}

const AdamW::Numbers* AdamW::numbers() const {
  return values_of<Numbers>(numbers_);
}

void AdamW::begin_step(const AdamWStep& step) {
  ++counts_.always;
  if (!step.frozen) ++counts_.freezable;
  Numbers numbers{};
  numbers.scale = step.grad_scale;
  for (int group = 0; group < kFixed; ++group) {
    const bool freezable = group >= 2, decays = group % 2;
    if (freezable && step.frozen) continue;
    numbers.rates[group] =
        adamw_rates(problem_, step.lr, decays ? step.weight_decay : 0, options_.decoupled,
                    freezable ? counts_.freezable : counts_.always);
  }
  upload(numbers_.stream(), numbers_.raw(), &numbers, sizeof numbers);
}

void AdamW::apply(const Tensor& gradients) {
  const AdamWRuns runs{static_cast<int>(runs_.size()), runs_.data(),
                       runs_on_gpu_.defined() ? values_of<AdamWRun>(runs_on_gpu_) : nullptr};
  const Stream stream = gradients.stream();
  const int64_t n = arena_.size();
  const double* factor = &numbers()->scale;
  dispatch_master(arena_.master(), [&]<class M>() {
    if (options_.max_norm > 0) {
      double* const squares = clipped_.data<double>();
      auto* const clipped = reinterpret_cast<ClippedNorm*>(squares + 1);
      Workspace workspace(sum_of_squares_workspace_bytes(gradients.device(), n),
                          gradients.device());
      sum_of_squares<M>(stream, n, gradients.data<M>(), squares, workspace);
      clip_factor(stream, options_.max_norm, factor, squares, clipped);
      factor = &clipped->factor;
    }
    adamw_step<M>(stream, problem_, runs, numbers()->rates, factor, arena_.weights().data<M>(),
                  first_.data<M>(), second_.data<M>(), gradients.data<M>());
  });
  arena_.weights_changed();
}

Tensor AdamW::gradient_norm() const {
  MONO_CHECK(options_.max_norm > 0, "the gradient's norm is taken where it is clipped only");
  return clipped_.range(1, {1});
}

}  // namespace mono
