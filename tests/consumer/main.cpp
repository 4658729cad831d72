#include <fmt/core.h>

#include "models/registry.h"

int main() {
  const auto model = mono::make_model("densenet121", {.channels = 6, .classes = 10});
  model->initialise(mono::DType::f32, 1);
  const mono::Variable images(mono::Tensor::zeros({2, 32, 32, 6}, mono::DType::f32));
  const int offsets[] = {0, 2};
  const auto output = model->forward(images, {.segments = {1, offsets}});
  fmt::print("logits {}\n", output.y.value().to_string());
}
