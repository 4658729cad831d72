#include "models/registry.h"

#include "kernels/base/suggest.h"
#include "models/resnet.h"

namespace mono {
namespace {

template <class Net, class Config>
std::unique_ptr<Backbone> make_backbone(ModelBuilder builder, const void* config, int channels) {
  return std::make_unique<Net>(std::move(builder), *static_cast<const Config*>(config), channels);
}

struct DenseNetEntry {
  const char* name;
  DenseNetConfig config;
};
const std::vector<DenseNetEntry>& densenets() {
  static const std::vector<DenseNetEntry> list = {
      {"densenet121", DenseNetConfig::densenet121()},
      {"densenet161", DenseNetConfig::densenet161()},
      {"densenet169", DenseNetConfig::densenet169()},
      {"densenet201", DenseNetConfig::densenet201()},
      // For smoke runs: three blocks, a minute on two cores.
      {"densenet_smoke", {16, {3, 4, 4}, 32, 4}},
  };
  return list;
}

struct ResNetEntry {
  const char* name;
  ResNetConfig config;
};
const std::vector<ResNetEntry>& resnets() {
  static const std::vector<ResNetEntry> list = {
      {"resnet18", ResNetConfig::resnet18()},
      {"resnet50", ResNetConfig::resnet50()},
      {"resnet101", ResNetConfig::resnet101()},
  };
  return list;
}

constexpr std::string_view kPaperPrefix = "rxrx1_";

std::unique_ptr<Model> assemble(bool paper, Classifier::MakeBackbone make, const void* config,
                                const char* head, const ModelOptions& options) {
  if (!paper)
    return std::make_unique<Classifier>(make, config, options.channels, head, options.classes);
  RxRx1Config rxrx1 = options.rxrx1;
  rxrx1.classes = options.classes;
  return std::make_unique<RxRx1Classifier>(make, config, options.channels, rxrx1);
}

}  // namespace

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& entry : densenets()) names.emplace_back(entry.name);
  for (const auto& entry : resnets()) names.emplace_back(entry.name);
  const size_t plain = names.size();
  for (size_t i = 0; i < plain; ++i) names.push_back(std::string(kPaperPrefix) + names[i]);
  return names;
}

std::unique_ptr<Model> make_model(const std::string& name, const ModelOptions& options) {
  if (options.channels < 1 || options.classes < 1)
    fail(ErrorKind::usage, "model {}: channels ({}) and classes ({}) must be at least 1", name,
         options.channels, options.classes);
  const bool paper = name.starts_with(kPaperPrefix);
  const std::string backbone = paper ? name.substr(kPaperPrefix.size()) : name;
  for (const auto& entry : densenets())
    if (backbone == entry.name) {
      const DenseNetConfig config = options.densenet.value_or(entry.config);
      return assemble(paper, make_backbone<DenseNet, DenseNetConfig>, &config, "classifier",
                      options);
    }
  for (const auto& entry : resnets())
    if (backbone == entry.name)
      return assemble(paper, make_backbone<ResNet, ResNetConfig>, &entry.config, "fc", options);

  fail(ErrorKind::usage, "unknown model '{}'{}; see train_rxrx list models", name,
       did_you_mean(name, model_names()));
}

}  // namespace mono
