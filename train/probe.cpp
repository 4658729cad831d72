#include "train/probe.h"

#include "nn/functional/cross_entropy.h"
#include "nn/functional/linear.h"

namespace mono {

class Probe::Linear final : public Model {
 public:
  Linear(int width, int classes) {
    weight_ = &arena_.add("weight", {classes, width}, Init::linear_uniform);
    bias_ = &arena_.add("bias", {classes}, Init::linear_uniform, true, width);
  }
  ModelOutput forward(const Variable& features, const ForwardContext& context,
                      const BatchHead&) const override {
    return {linear(features, *weight_, bias_, context), {}, features};
  }

 private:
  const Parameter *weight_, *bias_;
};

namespace {

AdamWOptions adam_options() {
  AdamWOptions options;
  options.decoupled = false;
  return options;  // decay: matrices only, which is the weight
}

std::shared_ptr<Model> initialised(std::shared_ptr<Model> model, const RunSetup& setup) {
  model->initialise(DType::f32, setup.recipe.seed, setup.device);
  return model;
}

}  // namespace

Probe::Probe(const RunSetup& setup, int width, int64_t epoch_steps)
    : options_(setup.recipe.probe),
      model_(std::static_pointer_cast<Linear>(
          initialised(std::make_shared<Linear>(width, setup.classes), setup))),
      optimiser_(model_->arena(), adam_options()),
      learning_rate_{options_.lr, options_.eta_min, epoch_steps},
      gradient_(model_->arena().new_array()) {}

void Probe::accumulate(const Tensor& features, const Tensor& targets, Figures& figures, int loss,
                       int correct) {
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  const Variable logits = model_->forward(Variable(features), context, {}).y;
  figures.add_mean(loss, cross_entropy_losses(logits, targets, 1.0, context));
  figures.add_correct(correct, logits.value(), targets);
  model_->arena().begin_gradients(gradient_);
  tape.backward();
  model_->arena().finish_gradients();
}

void Probe::update(int64_t step) {
  optimiser_.step(gradient_,
                  {.lr = learning_rate_.at(step), .weight_decay = options_.weight_decay});
}

void Probe::add_to(TrainingState& state) {
  state.add_model("probe.", *model_);
  state.add_array("probe_first_moment.", model_->arena(), optimiser_.first_moment());
  state.add_array("probe_second_moment.", model_->arena(), optimiser_.second_moment());
}

}  // namespace mono
