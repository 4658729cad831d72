// How long a plan will take, from trial steps.
#include <fmt/format.h>

#include "train/recipe_keys.h"
#include "train/reproduce/plan.h"
#include "train/trial_step.h"

namespace mono {
namespace {

constexpr int64_t kTrialImages = 8;

double seconds_per_flop(const PlannedRun& run, const Screen& screen, Device device) {
  Recipe recipe = run.recipe;
  // A step takes as long from random weights and with the statistics of single images; those of
  // others would first be read from the whole screen.
  recipe.data.normalisation = Normalisation::self;
  recipe.model.pretrained = false;
  recipe.model.weights.clear();
  recipe.model.init_from.clear();
  const std::unique_ptr<RunSetup> setup = set_up(recipe, screen.data, screen.cache, device);
  if (recipe.batch.form == BatchForm::views) {  // which need some: any do
    NormalisationStats& any = setup->normalisation;
    any.channels = setup->dataset.channels_on_disk;
    any.groups = {"any"};
    any.values.assign(static_cast<size_t>(any.channels), {.mean = 128, .std = 64});
    any.group_of.assign(setup->dataset.sites.size(), 0);
  }
  const std::unique_ptr<Model> model = make_model(*setup);
  const TrialStep trial = try_a_step(*setup, *model, kTrialImages);
  const double images = static_cast<double>(recipe.batch.images());
  return trial.seconds * images / static_cast<double>(trial.images) / run.cost.flops_per_step;
}

}  // namespace

std::string kind_of(const PlannedRun& run) {
  return fmt::format("{}, {}", run.recipe.model.backbone,
                     EnumNames<Method>::list()[static_cast<size_t>(run.recipe.method)]);
}

std::map<std::string, double> measured_speed(const Plan& plan, Device device) {
  std::map<std::string, double> speed;
  for (const PlannedRun& run : plan.runs) {
    if (run.finished || !run.obstacle.empty() || run.steps() == 0) continue;
    const Screen& screen = plan.screens.at(run.screen);
    if (!screen.has_images() || speed.contains(kind_of(run))) continue;
    speed[kind_of(run)] = seconds_per_flop(run, screen, device);
  }
  return speed;
}

}  // namespace mono
