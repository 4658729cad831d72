#include "train/reproduce/cost.h"

#include <charconv>

namespace mono {
namespace {

// The number that follows `word` in `name`; 0 where it does not occur.
int number_after(std::string_view name, std::string_view word) {
  const size_t at = name.find(word);
  int number = 0;
  if (at != name.npos)
    std::from_chars(name.data() + at + word.size(), name.data() + name.size(), number);
  return number;
}

// Output pixels of a convolution, by where its name says it stands (models/densenet.h, resnet.h).
double output_pixels(std::string_view name, const Shape& filter, double side) {
  const auto area_at = [&](int halvings) {
    const double edge = side / static_cast<double>(1 << halvings);
    return edge * edge;
  };
  if (name.find("patch_embed") != name.npos) {
    const double edge = side / filter[1];
    return edge * edge;
  }
  if (const int block = number_after(name, "denseblock")) return area_at(block + 1);
  if (const int after = number_after(name, "transition")) return area_at(after + 2);
  // ResNet: the stride is on the 3x3 of the first block, so the 1x1 before it sees more.
  if (const int layer = number_after(name, "layer")) {
    const bool before_stride = layer > 1 && filter[1] == 1 && name.find(".0.conv1") != name.npos;
    return area_at(before_stride ? layer : layer + 1);
  }
  return area_at(1);  // the stem
}

}  // namespace

double forward_multiply_adds(const ParameterArena& arena, int side) {
  double tokens = 1;
  for (const Parameter& p : arena.parameters())
    if (p.name.find("patch_embed") != p.name.npos && p.shape.rank() == 4)
      tokens = 1 + output_pixels(p.name, p.shape, side);
  double sum = 0;
  for (const Parameter& p : arena.parameters()) {
    const double weights = static_cast<double>(p.elements());
    if (p.shape.rank() == 4) {
      sum += weights * output_pixels(p.name, p.shape, side);
    } else if (p.shape.rank() == 2) {
      const bool each_token = p.name.find("blocks.") != p.name.npos;
      sum += weights * (each_token ? tokens : 1);
      // Scores and their sum over the values: two products of T x T x D.
      if (p.name.find("attn.qkv") != p.name.npos) sum += 2 * tokens * tokens * p.shape[1];
    }
  }
  return sum;
}

Cost cost_of(const Recipe& recipe, const Dataset& screen, int side) {
  RunSetup setup;
  setup.recipe = recipe;
  setup.channels.resize(channel_count(recipe, screen));
  setup.classes = screen.num_classes;
  setup.experiments = static_cast<int>(screen.experiments.size());
  const std::unique_ptr<Model> model = unallocated_model(setup);
  const ParameterArena& arena = model->arena();

  Cost cost;
  for (const Parameter& p : arena.parameters()) cost.parameters += p.elements();
  const bool views = recipe.batch.form == BatchForm::views;
  const bool teacher = recipe.method != Method::supervised;
  if (recipe.data.resize > 0) side = static_cast<int>(recipe.data.resize);
  if (recipe.data.crop > 0) side = static_cast<int>(recipe.data.crop);
  if (views) side = static_cast<int>(recipe.views.size);
  cost.flops_per_image = 2 * forward_multiply_adds(arena, side);

  const double images = static_cast<double>(recipe.batch.images());
  const double crops = teacher ? 2 : 1;  // global ones, of the student and of the teacher
  cost.flops_per_step = images * crops * (3 + (teacher ? 1 : 0)) * cost.flops_per_image;
  if (recipe.method == Method::dino)
    cost.flops_per_step += images * static_cast<double>(recipe.views.locals) * 3 * 2 *
                           forward_multiply_adds(arena, static_cast<int>(recipe.views.local_size));
  const int copies = 1 + (recipe.optim.kind == OptimKind::adamw ? 2 : 1) + (teacher ? 1 : 0);
  cost.checkpoint_bytes = static_cast<double>(cost.parameters) * copies * sizeof(float);
  return cost;
}

}  // namespace mono
