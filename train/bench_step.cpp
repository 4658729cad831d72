#include "train/bench_step.h"

#include "kernels/base/philox.h"
#include "nn/functional/augmentation.h"
#include "nn/functional/cross_entropy.h"

namespace mono {

BenchStep::BenchStep(Model& model, int batch, int image_size, int channels, int classes,
                     DType dtype, Communicator& ranks, const SumOptions& sums)
    : model_(model),
      reducer_(model.arena(), ranks, 1, sums),
      segments_({0, batch}, model.device()),
      recorded_(model.norms(), 1, DType::f32, model.device()),
      optimiser_(model.arena(), {.momentum = 0.9, .weight_decay = 0.0}),
      figures_(1, model.device()) {
  Philox random(0, Purpose::test);
  const Tensor images = Tensor::empty({batch, image_size, image_size, channels}, DType::f32);
  for (float& value : images.span<float>()) value = static_cast<float>(random.normal());
  images_ = images_on(images, dtype, model.device());
  const Tensor targets = Tensor::zeros({batch, classes}, DType::f32);
  for (int n = 0; n < batch; ++n)
    targets.data<float>()[int64_t{n} * classes + random.below(classes)] = 1.0f;
  targets_ = targets.to(model.device());
  optimiser_.set_rates(1e-3, 1.0);
}

void BenchStep::run() {
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  context.segments = segments_;
  context.norm.record = &recorded_;
  figures_.clear();
  {
    const ModelOutput output = model_.forward(Variable(images_), context, {BatchHead::Mode::off});
    figures_.add_mean(0, cross_entropy_losses(output.y, targets_, 1.0, context));
  }
  saved_bytes_ = 0;
  for (const auto& [op, bytes] : tape.saved_bytes()) saved_bytes_ += bytes;
  reducer_.backward(tape);
  optimiser_.step(reducer_.sum());
  update_running(recorded_, 0.1, model_.running());
}

}  // namespace mono
