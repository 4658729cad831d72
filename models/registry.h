// The models by name: densenet121/161/169/201, densenet_smoke, resnet18/50/101, and the paper's
// classifier on each of them as rxrx1_<backbone>.
#pragma once

#include <optional>

#include "models/classifier.h"
#include "models/densenet.h"

namespace mono {

struct ModelOptions {
  int channels = 6;
  int classes = 1139;
  RxRx1Config rxrx1;                       // of rxrx1_*; its `classes` is the one above
  std::optional<DenseNetConfig> densenet;  // replaces the growth, blocks, stem of a DenseNet
};

std::vector<std::string> model_names();
// Parameters are registered, not yet allocated: call initialise(). Errors: unknown name (usage,
// with the nearest right one).
std::unique_ptr<Model> make_model(const std::string& name, const ModelOptions& options);

}  // namespace mono
