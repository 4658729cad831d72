#include "train/idle_keys.h"

#include <algorithm>
#include <vector>

#include "train/recipe.h"

namespace mono {
namespace {

struct Rule {
  std::vector<std::string_view> keys;  // "augment." is every key of that table
  bool (*idle)(const Recipe&);
  const char* why;
};

bool views(const Recipe& r) {
  return r.batch.form == BatchForm::views;
}
bool groups(const Recipe& r) {
  return !views(r);
}
bool supervised(const Recipe& r) {
  return r.method == Method::supervised;
}
bool dino(const Recipe& r) {
  return r.method == Method::dino;
}
bool byol(const Recipe& r) {
  return r.method == Method::byol;
}
bool deit(const Recipe& r) {
  return r.model.backbone.starts_with("deit");
}
bool sgd(const Recipe& r) {
  return r.optim.kind == OptimKind::sgd;
}

// The first rule that names a key gives the reason.
const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = {
      {{"augment."},
       views,
       "with batch.form = \"views\": what changes crops is in [views], flips are views.dihedral"},
      {{"batch_head."}, views, "with batch.form = \"views\": there is no batch head"},
      {{"batch.group_size", "batch.one_experiment_per_group"},
       views,
       "with batch.form = \"views\": a step has batch.anchors images"},
      {{"domain.adabn"}, views, "with batch.form = \"views\": AdaBN needs groups of images"},
      {{"data.crop"}, views, "with batch.form = \"views\": set views.size"},
      {{"model.neck", "model.pool_after_relu"},
       views,
       "with batch.form = \"views\": there is no neck, and pooling is the backbone's own"},
      {{"views.", "ssl.", "probe.", "collapse.", "batch.anchors", "data.pair_key"},
       groups,
       "with batch.form = \"groups\": it is of batch.form = \"views\""},
      // Groups on CDCL's parts of a screen are evaluated by domain, as views are.
      {{"data.domain_key"},
       [](const Recipe& r) {
         return groups(r) && r.data.fold == 0 && r.data.validation_experiments == 0;
       },
       "with batch.form = \"groups\" and nothing to validate on: set data.fold or "
       "data.validation_experiments"},
      {{"validation.every_epochs"},
       [](const Recipe& r) { return r.data.fold == 0 && r.data.validation_experiments == 0; },
       "without images to validate on: set data.fold or data.validation_experiments"},

      {{"model.growth", "model.bn_size"},
       [](const Recipe& r) { return r.model.backbone != "densenet_smoke"; },
       "with this model.backbone: only \"densenet_smoke\" has a size to set"},
      {{"model.blocks", "model.stem"},
       [](const Recipe& r) {
         return r.model.backbone != "densenet_smoke" && r.model.backbone != "resnet_smoke";
       },
       "with this model.backbone: only \"densenet_smoke\" and \"resnet_smoke\" have a size to set"},
      {{"model.patch", "model.depth", "model.dim", "model.heads"},
       [](const Recipe& r) { return r.model.backbone != "deit_smoke"; },
       "with this model.backbone: only \"deit_smoke\" has a size to set"},
      {{"model.position_embedding", "model.drop_path"},
       [](const Recipe& r) { return !deit(r); },
       "with this model.backbone: it is of vision transformers"},
      {{"bn."},
       [](const Recipe& r) { return deit(r) && !byol(r); },
       "with this model.backbone and method: there is no batch norm, and layer norms have an eps "
       "of their own"},

      {{"optim.momentum", "optim.nesterov"},
       [](const Recipe& r) { return !sgd(r); },
       "with optim.kind = \"adamw\": its averages are optim.beta1 and optim.beta2"},
      {{"optim.beta1", "optim.beta2", "optim.eps"},
       sgd,
       "with optim.kind = \"sgd\": its average is optim.momentum"},
      {{"optim.clip", "optim.weight_decay_end"},
       sgd,
       "with optim.kind = \"sgd\": gradients are not clipped, and weight decay is constant"},
      {{"optim.warmup_steps", "optim.warmup_lr", "optim.warmup_overshoot", "optim.eta_min"},
       sgd,
       "with optim.kind = \"sgd\": its warm-up is of optim.warmup_epochs, and rates begin and end "
       "at 0"},
      {{"optim.warmup_epochs"},
       [](const Recipe& r) { return !sgd(r) && r.optim.warmup_steps > 0; },
       "beside optim.warmup_steps, which counts the warm-up in steps: set that to 0"},
      {{"optim.eta_min"},
       [](const Recipe& r) { return r.optim.schedule == LrSchedule::constant; },
       "with optim.schedule = \"constant\""},

      {{"batch_head.lambda", "batch_head.schedule"},
       [](const Recipe& r) { return r.batch_head.mode != BatchHeadMode::reversed; },
       "without batch_head.mode = \"reversed\": no gradient is reversed"},
      {{"batch_head.weight", "batch_head.hidden"},
       [](const Recipe& r) { return r.batch_head.mode == BatchHeadMode::none; },
       "with batch_head.mode = \"none\""},
      {{"augment.alpha", "augment.probability"},
       [](const Recipe& r) { return r.augment.mixing == Mixing::none; },
       "with augment.mixing = \"none\""},

      {{"ssl.", "probe.", "collapse."},
       supervised,
       "with method = \"supervised\": it is of self-supervision"},
      {{"views.locals", "views.local_size", "views.local_scale"},
       [](const Recipe& r) { return !dino(r); },
       "without method = \"dino\": there are no local crops"},
      {{"views.local_size", "views.local_scale"},
       [](const Recipe& r) { return r.views.locals == 0; },
       "with views.locals = 0"},
      {{"data.pair_key"},
       [](const Recipe& r) { return supervised(r) || !r.ssl.cross_batch; },
       "without ssl.cross_batch: an image is its own partner"},
      {{"ssl.hidden", "ssl.bottleneck", "ssl.outputs", "ssl.student_temperature",
        "ssl.teacher_temperature", "ssl.teacher_temperature_end", "ssl.teacher_temperature_epochs",
        "ssl.centre_momentum", "ssl.freeze_last_layer_epochs", "ssl.barlow_weight",
        "ssl.only_cross_domain", "collapse.most_entropy", "collapse.least_spread"},
       byol,
       "with method = \"byol\": it is of DINO's head and losses"},
      {{"ssl.byol_hidden", "ssl.byol_outputs", "ssl.byol_output_norm"},
       dino,
       "with method = \"dino\": the widths of its head are ssl.hidden, ssl.bottleneck and "
       "ssl.outputs"},
      {{"ssl.barlow_weight"},
       [](const Recipe& r) { return !r.ssl.barlow_loss || !r.ssl.dino_loss; },
       "without both ssl.dino_loss and ssl.barlow_loss"},
      {{"ssl.barlow_diagonal", "ssl.barlow_off_diagonal", "ssl.barlow_global"},
       [](const Recipe& r) { return !r.ssl.barlow_loss; },
       "without ssl.barlow_loss"},
      {{"ssl.barlow_global"},
       [](const Recipe& r) { return r.batch.groups == 1; },
       "with batch.groups = 1, which is the whole step"},
      {{"ssl.normalise_losses"},
       [](const Recipe& r) { return byol(r) && !r.ssl.barlow_loss; },
       "with BYOL's cosine loss"},
      {{"collapse.most_entropy", "collapse.least_spread"},
       [](const Recipe& r) { return !r.ssl.dino_loss; },
       "without ssl.dino_loss: no softmax is in the loss"},
      {{"probe.lr", "probe.weight_decay", "probe.eta_min"},
       [](const Recipe& r) { return !r.probe.enabled; },
       "with probe.enabled = false"},

      {{"data.experiments", "data.train_experiments", "data.train_site"},
       [](const Recipe& r) { return r.data.fold > 0; },
       "beside data.fold, which says what is trained on: set data.fold = 0"},
      {{"data.control_fields"},
       [](const Recipe& r) { return r.data.fold == 0; },
       "without data.fold"},
      {{"data.stratified_by"},
       [](const Recipe& r) { return r.data.split != SplitBy::stratified; },
       "without data.split = \"stratified\""},
  };
  return all;
}

bool names(const Rule& rule, std::string_view key) {
  return std::ranges::any_of(rule.keys, [&](std::string_view name) {
    return name.back() == '.' ? key.starts_with(name) : key == name;
  });
}

}  // namespace

std::optional<std::string> why_idle(const Recipe& recipe, std::string_view key) {
  for (const Rule& rule : rules())
    if (names(rule, key) && rule.idle(recipe)) return rule.why + std::string("; leave it out");
  return std::nullopt;
}

bool says_off(std::string_view key, std::string_view text) {
  static const std::vector<std::string_view> off = {"false", "0", "0.0", "\"none\"", "[]"};
  static const std::vector<std::string_view> choices = {
      "augment.dihedral", "views.dihedral", "model.pool_after_relu", "ssl.normalise_losses",
      "ssl.byol_output_norm"};
  return std::ranges::count(off, text) > 0 && std::ranges::count(choices, key) == 0;
}

}  // namespace mono
