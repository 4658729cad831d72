// The models by name: densenet121/161/169/201, densenet_smoke, resnet18/50/101, resnet_smoke,
// deit_tiny/small/base, deit_smoke; on each of them the RxRx1 paper's classifier as
// rxrx1_<backbone>, and CDCL's, a linear head, as cdcl_<backbone>.
#pragma once

#include <optional>

#include "models/classifier.h"
#include "models/deit.h"
#include "models/densenet.h"
#include "models/resnet.h"

namespace mono {

struct ModelOptions {
  int channels = 6;
  int classes = 1139;
  RxRx1Config rxrx1 = {};                       // of rxrx1_*; its `classes` is the one above
  std::optional<DenseNetConfig> densenet = {};  // replaces the growth, blocks, stem of a DenseNet
  std::optional<ResNetConfig> resnet = {};      // replaces the blocks, stem of a ResNet
  std::optional<DeitConfig> deit = {};          // replaces the size of a DeiT
  PositionRule position_rule = PositionRule::cdcl;  // of a DeiT
};

std::vector<std::string> model_names();
// Parameters are registered, not yet allocated: call initialise(). Errors: unknown name (usage,
// with the nearest right one).
std::unique_ptr<Model> make_model(const std::string& name, const ModelOptions& options);
// A backbone alone, for a Model with heads of its own; parameters go to the builder's arena. Of the
// options it reads all but `classes` and `rxrx1`. Errors as make_model.
std::unique_ptr<Backbone> make_backbone(const std::string& name, const ModelBuilder& builder,
                                        const ModelOptions& options);

}  // namespace mono
