#include "models/registry.h"

#include "kernels/base/suggest.h"

namespace mono {
namespace {

using Make = std::unique_ptr<Backbone> (*)(const ModelBuilder&, const ModelOptions&);

struct Entry {
  const char *name, *head;  // the head's name in torchvision or timm
  Make make;
};

template <DenseNetConfig (*config)()>
Entry densenet(const char* name) {
  return {
      name, "classifier",
      [](const ModelBuilder& builder, const ModelOptions& options) -> std::unique_ptr<Backbone> {
        return std::make_unique<DenseNet>(builder, options.densenet.value_or(config()),
                                          options.channels);
      }};
}

template <ResNetConfig (*config)()>
Entry resnet(const char* name) {
  return {
      name, "fc",
      [](const ModelBuilder& builder, const ModelOptions& options) -> std::unique_ptr<Backbone> {
        return std::make_unique<ResNet>(builder, options.resnet.value_or(config()),
                                        options.channels);
      }};
}

template <DeitConfig (*size)()>
Entry deit(const char* name) {
  return {
      name, "head",
      [](const ModelBuilder& builder, const ModelOptions& options) -> std::unique_ptr<Backbone> {
        DeitConfig config = options.deit.value_or(size());
        config.position_rule = options.position_rule;
        return std::make_unique<Deit>(builder, config, options.channels);
      }};
}

// For smoke runs: three blocks, a minute on two cores.
DenseNetConfig densenet_smoke() {
  return {16, {3, 4, 4}, 32, 4};
}

ResNetConfig resnet_smoke() {
  return {{1, 1, 1}, true, 16};
}

const std::vector<Entry>& backbones() {
  static const std::vector<Entry> list = {
      densenet<DenseNetConfig::densenet121>("densenet121"),
      densenet<DenseNetConfig::densenet161>("densenet161"),
      densenet<DenseNetConfig::densenet169>("densenet169"),
      densenet<DenseNetConfig::densenet201>("densenet201"),
      densenet<densenet_smoke>("densenet_smoke"),
      resnet<ResNetConfig::resnet18>("resnet18"),
      resnet<ResNetConfig::resnet50>("resnet50"),
      resnet<ResNetConfig::resnet101>("resnet101"),
      resnet<resnet_smoke>("resnet_smoke"),
      deit<DeitConfig::tiny>("deit_tiny"),
      deit<DeitConfig::small>("deit_small"),
      deit<DeitConfig::base>("deit_base"),
      deit<DeitConfig::smoke>("deit_smoke"),
  };
  return list;
}

const Entry* find_backbone(std::string_view name) {
  for (const Entry& entry : backbones())
    if (name == entry.name) return &entry;
  return nullptr;
}

// What may stand before a backbone's name: its own head without one.
constexpr std::string_view kRxRx1 = "rxrx1_", kCdcl = "cdcl_";

}  // namespace

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (std::string_view prefix : {std::string_view(), kRxRx1, kCdcl})
    for (const Entry& entry : backbones()) names.push_back(std::string(prefix) + entry.name);
  return names;
}

std::unique_ptr<Model> make_model(const std::string& name, const ModelOptions& options) {
  if (options.channels < 1 || options.classes < 1)
    fail(ErrorKind::usage, "model {}: channels ({}) and classes ({}) must be at least 1", name,
         options.channels, options.classes);
  const bool rxrx1 = name.starts_with(kRxRx1), cdcl = name.starts_with(kCdcl);
  const Entry* entry = find_backbone(name.substr(rxrx1 ? kRxRx1.size() : cdcl ? kCdcl.size() : 0));
  if (!entry)
    fail(ErrorKind::usage, "unknown model '{}'{}; see train_rxrx list models", name,
         did_you_mean(name, model_names()));
  const MakeBackbone make = [&](ModelBuilder builder) { return entry->make(builder, options); };
  if (cdcl) return std::make_unique<Classifier>(make, "backbone.", "head", options.classes);
  if (!rxrx1) return std::make_unique<Classifier>(make, "", entry->head, options.classes);
  RxRx1Config config = options.rxrx1;
  config.classes = options.classes;
  return std::make_unique<RxRx1Classifier>(make, config);
}

std::unique_ptr<Backbone> make_backbone(const std::string& name, const ModelBuilder& builder,
                                        const ModelOptions& options) {
  const Entry* entry = find_backbone(name);
  if (!entry) {
    std::vector<std::string> names;
    for (const Entry& known : backbones()) names.emplace_back(known.name);
    fail(ErrorKind::usage, "unknown backbone '{}'{}", name, did_you_mean(name, names));
  }
  return entry->make(builder, options);
}

}  // namespace mono
