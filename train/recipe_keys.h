// Every key of a recipe, once: its place in the struct, its range, and whether it decides results.
// Reading, writing, hashing and comparing recipes all walk this list.
#pragma once

#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "train/recipe.h"

namespace mono {

// What a value must satisfy. For arrays, low and high bound each element, and size the length.
struct KeyRule {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  size_t least_size = 0, most_size = 1024;
  bool distinct = false;
  bool decides_results = true;
  const std::vector<std::string>* choices = nullptr;  // of a string
};

// The spellings of an enumeration, in the order of its values.
template <class E>
struct EnumNames;
#define MONO_ENUM_NAMES(Enum, ...)                                 \
  template <>                                                      \
  struct EnumNames<Enum> {                                         \
    static const std::vector<std::string>& list() {                \
      static const std::vector<std::string> names = {__VA_ARGS__}; \
      return names;                                                \
    }                                                              \
  }
MONO_ENUM_NAMES(Target, "sirna", "experiment");
MONO_ENUM_NAMES(SplitBy, "separated", "stratified");
MONO_ENUM_NAMES(StratifiedBy, "well", "image");
MONO_ENUM_NAMES(Normalisation, "self", "all", "control-experiment", "all-experiment",
                "control-plate", "all-plate");
MONO_ENUM_NAMES(StdBy, "pooled", "mean-of-stds");
MONO_ENUM_NAMES(OnBadImage, "fail", "drop");
MONO_ENUM_NAMES(BatchHeadMode, "none", "detached", "reversed");
MONO_ENUM_NAMES(LambdaSchedule, "constant", "ramp");
MONO_ENUM_NAMES(Mixing, "none", "cutmix", "mixup");
MONO_ENUM_NAMES(LrSchedule, "cosine", "constant");
MONO_ENUM_NAMES(Precision, "f32", "bf16");
#undef MONO_ENUM_NAMES

// Calls visit(key, value, rule) for every key, those of a section together. R is Recipe or const
// Recipe.
template <class R, class Visit>
void each_key(R& r, Visit&& visit) {
  constexpr double kMany = 1e9;
  const KeyRule any;
  const KeyRule count{.low = 1, .high = kMany};
  const KeyRule count_or_0{.low = 0, .high = kMany};
  const KeyRule fraction{.low = 0, .high = 1};
  const KeyRule not_negative{.low = 0, .high = 1e6};

  visit("seed", r.seed, KeyRule{.low = 0, .high = 9.2e18});
  visit("seeds", r.seeds, KeyRule{.low = 1, .high = 1000, .decides_results = false});

  visit("model.backbone", r.model.backbone, KeyRule{.choices = &backbone_names()});
  visit("model.growth", r.model.growth, KeyRule{.low = 1, .high = 1024});
  visit("model.blocks", r.model.blocks,
        KeyRule{.low = 1, .high = 256, .least_size = 1, .most_size = 5});
  visit("model.stem", r.model.stem, KeyRule{.low = 1, .high = 4096});
  visit("model.bn_size", r.model.bn_size, KeyRule{.low = 1, .high = 64});
  visit("model.neck", r.model.neck, KeyRule{.low = 1, .high = 65536});
  visit("model.pool_after_relu", r.model.pool_after_relu, any);
  visit("model.weights", r.model.weights, any);

  visit("data.target", r.data.target, any);
  visit("data.split", r.data.split, any);
  visit("data.stratified_by", r.data.stratified_by, any);
  visit("data.experiments", r.data.experiments, KeyRule{.distinct = true});
  visit("data.cell_types", r.data.cell_types, KeyRule{.distinct = true});
  visit("data.train_experiments", r.data.train_experiments, count_or_0);
  visit("data.channels", r.data.channels,
        KeyRule{.low = 1, .high = 6, .least_size = 1, .most_size = 6, .distinct = true});
  visit("data.crop", r.data.crop, KeyRule{.low = 0, .high = 65536});
  visit("data.normalisation", r.data.normalisation, any);
  visit("data.std", r.data.std, any);
  visit("data.on_bad_image", r.data.on_bad_image, any);

  visit("batch.groups", r.batch.groups, KeyRule{.low = 1, .high = 4096});
  visit("batch.group_size", r.batch.group_size, KeyRule{.low = 2, .high = 65536});
  visit("batch.one_experiment_per_group", r.batch.one_experiment_per_group, any);

  visit("domain.adabn", r.domain.adabn, any);

  visit("batch_head.mode", r.batch_head.mode, any);
  visit("batch_head.lambda", r.batch_head.lambda, not_negative);
  visit("batch_head.schedule", r.batch_head.schedule, any);
  visit("batch_head.weight", r.batch_head.weight, not_negative);
  visit("batch_head.hidden", r.batch_head.hidden, KeyRule{.low = 0, .high = 65536});

  visit("augment.dihedral", r.augment.dihedral, any);
  visit("augment.mixing", r.augment.mixing, any);
  visit("augment.alpha", r.augment.alpha, KeyRule{.low = 1e-3, .high = 1e3});
  visit("augment.probability", r.augment.probability, fraction);
  visit("augment.label_smoothing", r.augment.label_smoothing, fraction);

  visit("optim.lr", r.optim.lr, KeyRule{.low = 0, .high = 1e3});
  visit("optim.momentum", r.optim.momentum, KeyRule{.low = 0, .high = 0.999999});
  visit("optim.nesterov", r.optim.nesterov, any);
  visit("optim.weight_decay", r.optim.weight_decay, fraction);
  visit("optim.decay_norm_and_bias", r.optim.decay_norm_and_bias, any);
  visit("optim.warmup_epochs", r.optim.warmup_epochs, not_negative);
  visit("optim.schedule", r.optim.schedule, any);

  visit("train.epochs", r.train.epochs, count);
  visit("train.precision", r.train.precision, any);

  visit("bn.eps", r.bn.eps, KeyRule{.low = 1e-12, .high = 1});
  visit("bn.momentum", r.bn.momentum, fraction);

  visit("checkpoint.every_steps", r.checkpoint.every_steps,
        KeyRule{.low = 0, .high = kMany, .decides_results = false});
  visit("checkpoint.every_epochs", r.checkpoint.every_epochs,
        KeyRule{.low = 0, .high = kMany, .decides_results = false});
  visit("checkpoint.keep", r.checkpoint.keep,
        KeyRule{.low = 2, .high = kMany, .decides_results = false});

  visit("loader.workers", r.loader.workers,
        KeyRule{.low = 0, .high = 1024, .decides_results = false});
}

}  // namespace mono
