// Every key of a recipe, once: its place in the struct, its range, and whether it decides results.
// Reading, writing, hashing and comparing recipes all walk this list.
#pragma once

#include <limits>
#include <map>
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
MONO_ENUM_NAMES(Target, "sirna", "experiment", "moa");
MONO_ENUM_NAMES(SplitBy, "separated", "stratified");
MONO_ENUM_NAMES(StratifiedBy, "well", "image");
MONO_ENUM_NAMES(Normalisation, "self", "all", "control-experiment", "all-experiment",
                "control-plate", "all-plate", "negative-control-plate", "published-constants");
MONO_ENUM_NAMES(StdBy, "pooled", "mean-of-stds");
MONO_ENUM_NAMES(OnBadImage, "fail", "drop");
MONO_ENUM_NAMES(BatchHeadMode, "none", "detached", "reversed");
MONO_ENUM_NAMES(LambdaSchedule, "constant", "ramp");
MONO_ENUM_NAMES(Mixing, "none", "cutmix", "mixup");
MONO_ENUM_NAMES(LrSchedule, "cosine", "constant");
MONO_ENUM_NAMES(Precision, "f32", "bf16");
MONO_ENUM_NAMES(Method, "supervised", "dino", "byol");
MONO_ENUM_NAMES(BatchForm, "groups", "views");
MONO_ENUM_NAMES(DomainKey, "experiment", "plate");
MONO_ENUM_NAMES(PairKey, "treatment", "treatment-or-image");
MONO_ENUM_NAMES(Subset, "all", "controls", "treatments", "half-sites", "half-treatments");
MONO_ENUM_NAMES(StatisticsMode, "as-trained", "experiment", "group", "running");
MONO_ENUM_NAMES(OptimKind, "sgd", "adamw");
MONO_ENUM_NAMES(ChannelRule, "tile", "timm");
MONO_ENUM_NAMES(GpuSums, "nccl", "mpi");
MONO_ENUM_NAMES(PositionEmbedding, "cdcl", "dino", "deit", "timm");
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

  visit("method", r.method, any);

  visit("model.backbone", r.model.backbone, KeyRule{.choices = &backbone_names()});
  visit("model.growth", r.model.growth, KeyRule{.low = 1, .high = 1024});
  visit("model.blocks", r.model.blocks,
        KeyRule{.low = 1, .high = 256, .least_size = 1, .most_size = 5});
  visit("model.stem", r.model.stem, KeyRule{.low = 1, .high = 4096});
  visit("model.bn_size", r.model.bn_size, KeyRule{.low = 1, .high = 64});
  visit("model.neck", r.model.neck, KeyRule{.low = 1, .high = 65536});
  visit("model.pool_after_relu", r.model.pool_after_relu, any);
  visit("model.weights", r.model.weights, any);
  visit("model.init_from", r.model.init_from, any);
  visit("model.pretrained", r.model.pretrained, any);
  visit("model.from_scratch", r.model.from_scratch, any);
  visit("model.patch", r.model.patch, KeyRule{.low = 1, .high = 256});
  visit("model.depth", r.model.depth, KeyRule{.low = 1, .high = 256});
  visit("model.dim", r.model.dim, KeyRule{.low = 8, .high = 8192});
  visit("model.heads", r.model.heads, KeyRule{.low = 1, .high = 128});
  visit("model.channel_rule", r.model.channel_rule, any);
  visit("model.position_embedding", r.model.position_embedding, any);
  visit("model.drop_path", r.model.drop_path, KeyRule{.low = 0, .high = 0.99});

  visit("data.target", r.data.target, any);
  visit("data.labels", r.data.labels, any);
  visit("data.split", r.data.split, any);
  visit("data.stratified_by", r.data.stratified_by, any);
  visit("data.experiments", r.data.experiments, KeyRule{.distinct = true});
  visit("data.cell_types", r.data.cell_types, KeyRule{.distinct = true});
  visit("data.train_experiments", r.data.train_experiments, count_or_0);
  visit("data.train_site", r.data.train_site, KeyRule{.low = 0, .high = 2});
  visit("data.channels", r.data.channels,
        KeyRule{.low = 1, .high = 8, .most_size = 8, .distinct = true});
  visit("data.crop", r.data.crop, KeyRule{.low = 0, .high = 65536});
  visit("data.resize", r.data.resize, KeyRule{.low = 0, .high = 65536});
  visit("data.fold", r.data.fold, KeyRule{.low = 0, .high = 6});
  visit("data.validation_experiments", r.data.validation_experiments, count_or_0);
  visit("data.subset", r.data.subset, any);
  visit("data.control_fields", r.data.control_fields, count_or_0);
  visit("data.selection", r.data.selection, any);
  visit("data.domain_key", r.data.domain_key, any);
  visit("data.pair_key", r.data.pair_key, any);
  visit("data.normalisation", r.data.normalisation, any);
  visit("data.std", r.data.std, any);
  visit("data.floor_statistics", r.data.floor_statistics, any);
  visit("data.on_bad_image", r.data.on_bad_image, any);

  visit("batch.form", r.batch.form, any);
  visit("batch.groups", r.batch.groups, KeyRule{.low = 1, .high = 4096});
  visit("batch.group_size", r.batch.group_size, KeyRule{.low = 2, .high = 65536});
  visit("batch.one_experiment_per_group", r.batch.one_experiment_per_group, any);
  visit("batch.anchors", r.batch.anchors, KeyRule{.low = 2, .high = 65536});

  const KeyRule area{.low = 1e-3, .high = 4, .least_size = 2, .most_size = 2};
  visit("views.size", r.views.size, KeyRule{.low = 1, .high = 4096});
  visit("views.scale", r.views.scale, area);
  visit("views.locals", r.views.locals, KeyRule{.low = 0, .high = 64});
  visit("views.local_size", r.views.local_size, KeyRule{.low = 1, .high = 4096});
  visit("views.local_scale", r.views.local_scale, area);
  visit("views.dihedral", r.views.dihedral, any);
  visit("views.colour_probability", r.views.colour_probability, fraction);
  visit("views.colour_gain_sd", r.views.colour_gain_sd, KeyRule{.low = 0, .high = 10});
  visit("views.colour_shift_sd", r.views.colour_shift_sd, KeyRule{.low = 0, .high = 10});

  const KeyRule width{.low = 1, .high = 262144}, temperature{.low = 1e-3, .high = 100};
  visit("ssl.cross_batch", r.ssl.cross_batch, any);
  visit("ssl.multi_center", r.ssl.multi_center, any);
  visit("ssl.dino_loss", r.ssl.dino_loss, any);
  visit("ssl.barlow_loss", r.ssl.barlow_loss, any);
  visit("ssl.barlow_weight", r.ssl.barlow_weight, fraction);
  visit("ssl.barlow_diagonal", r.ssl.barlow_diagonal, not_negative);
  visit("ssl.barlow_off_diagonal", r.ssl.barlow_off_diagonal, not_negative);
  visit("ssl.barlow_global", r.ssl.barlow_global, any);
  visit("ssl.normalise_losses", r.ssl.normalise_losses, any);
  visit("ssl.only_cross_domain", r.ssl.only_cross_domain, any);
  visit("ssl.hidden", r.ssl.hidden, width);
  visit("ssl.bottleneck", r.ssl.bottleneck, width);
  visit("ssl.outputs", r.ssl.outputs, KeyRule{.low = 2, .high = 262144});
  visit("ssl.byol_hidden", r.ssl.byol_hidden, width);
  visit("ssl.byol_outputs", r.ssl.byol_outputs, width);
  visit("ssl.byol_output_norm", r.ssl.byol_output_norm, any);
  visit("ssl.student_temperature", r.ssl.student_temperature, temperature);
  visit("ssl.teacher_temperature", r.ssl.teacher_temperature, temperature);
  visit("ssl.teacher_temperature_end", r.ssl.teacher_temperature_end, temperature);
  visit("ssl.teacher_temperature_epochs", r.ssl.teacher_temperature_epochs, count_or_0);
  visit("ssl.centre_momentum", r.ssl.centre_momentum, fraction);
  visit("ssl.teacher_momentum", r.ssl.teacher_momentum, fraction);
  visit("ssl.teacher_momentum_end", r.ssl.teacher_momentum_end, fraction);
  visit("ssl.freeze_last_layer_epochs", r.ssl.freeze_last_layer_epochs, count_or_0);

  visit("probe.enabled", r.probe.enabled, any);
  visit("probe.lr", r.probe.lr, fraction);
  visit("probe.weight_decay", r.probe.weight_decay, fraction);
  visit("probe.eta_min", r.probe.eta_min, fraction);

  visit("validation.every_epochs", r.validation.every_epochs, count_or_0);
  visit("validation.k", r.validation.k, count);
  visit("validation.temperature", r.validation.temperature, temperature);

  visit("collapse.after_epochs", r.collapse.after_epochs, count_or_0);
  visit("collapse.patience", r.collapse.patience, count);
  visit("collapse.least_sd", r.collapse.least_sd, not_negative);
  visit("collapse.most_entropy", r.collapse.most_entropy, KeyRule{.low = 0, .high = 2});
  visit("collapse.least_spread", r.collapse.least_spread, fraction);

  visit("domain.adabn", r.domain.adabn, any);
  visit("domain.test_statistics", r.domain.test_statistics, KeyRule{.decides_results = false});

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

  visit("optim.kind", r.optim.kind, any);
  visit("optim.lr", r.optim.lr, KeyRule{.low = 0, .high = 1e3});
  visit("optim.beta1", r.optim.beta1, KeyRule{.low = 0, .high = 0.999999});
  visit("optim.beta2", r.optim.beta2, KeyRule{.low = 0, .high = 0.99999999});
  visit("optim.eps", r.optim.eps, KeyRule{.low = 1e-12, .high = 1});
  visit("optim.clip", r.optim.clip, not_negative);
  visit("optim.momentum", r.optim.momentum, KeyRule{.low = 0, .high = 0.999999});
  visit("optim.nesterov", r.optim.nesterov, any);
  visit("optim.weight_decay", r.optim.weight_decay, fraction);
  visit("optim.weight_decay_end", r.optim.weight_decay_end, KeyRule{.low = -1, .high = 1});
  visit("optim.decay_norm_and_bias", r.optim.decay_norm_and_bias, any);
  visit("optim.warmup_epochs", r.optim.warmup_epochs, not_negative);
  visit("optim.warmup_steps", r.optim.warmup_steps, count_or_0);
  visit("optim.warmup_lr", r.optim.warmup_lr, KeyRule{.low = 0, .high = 1e3});
  visit("optim.warmup_overshoot", r.optim.warmup_overshoot, any);
  visit("optim.eta_min", r.optim.eta_min, KeyRule{.low = 0, .high = 1e3});
  visit("optim.schedule", r.optim.schedule, any);

  visit("train.epochs", r.train.epochs, count_or_0);
  visit("train.precision", r.train.precision, any);

  visit("bn.eps", r.bn.eps, KeyRule{.low = 1e-12, .high = 1});
  visit("bn.momentum", r.bn.momentum, fraction);

  visit("checkpoint.every_steps", r.checkpoint.every_steps,
        KeyRule{.low = 0, .high = kMany, .decides_results = false});
  visit("checkpoint.every_epochs", r.checkpoint.every_epochs,
        KeyRule{.low = 0, .high = kMany, .decides_results = false});
  visit("checkpoint.keep", r.checkpoint.keep,
        KeyRule{.low = 2, .high = kMany, .decides_results = false});

  visit("test_curve.every_epochs", r.test_curve.every_epochs,
        KeyRule{.low = 0, .high = kMany, .decides_results = false});

  visit("loader.workers", r.loader.workers,
        KeyRule{.low = 0, .high = 1024, .decides_results = false});
  visit("ranks.bucket_mb", r.ranks.bucket_mb,
        KeyRule{.low = 1e-3, .high = 65536, .decides_results = false});
  visit("ranks.timeout_s", r.ranks.timeout_s,
        KeyRule{.low = 1, .high = 1e6, .decides_results = false});
  visit("ranks.check_steps", r.ranks.check_steps,
        KeyRule{.low = 0, .high = kMany, .decides_results = false});
  visit("ranks.gpu_sums", r.ranks.gpu_sums, KeyRule{.decides_results = false});
  visit("ranks.bf16_gradients", r.ranks.bf16_gradients, any);
}

// The value of each key ("optim.lr"), as recipe_text() spells it.
std::map<std::string, std::string> recipe_texts(const Recipe& recipe);

}  // namespace mono
