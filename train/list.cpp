// `train_rxrx list`: what there is to name on the command line.
#include <fmt/format.h>

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"
#include "models/registry.h"
#include "train/commands.h"
#include "train/device.h"
#include "train/recipe.h"

namespace mono {
namespace {

// The first comment line of a recipe says what it is.
std::string_view headline(std::string_view source) {
  if (!source.starts_with("# ")) return {};
  return source.substr(2, source.find('\n') - 2);
}

void list_recipes() {
  for (const std::string& name : recipe_names())
    fmt::print("{:<46}  {}\n", name, headline(recipe_source(name)));
}

void list_models() {
  for (const std::string& name : model_names()) fmt::print("{}\n", name);
}

}  // namespace

int run_list(const ListOptions& options) {
  const std::vector<std::string> kinds = {"recipes", "models", "devices"};
  const std::string& what = options.what;
  if (!what.empty() && what != kinds[0] && what != kinds[1] && what != kinds[2])
    fail(ErrorKind::usage, "list {}: recipes, models or devices{}", what,
         did_you_mean(what, kinds));
  const bool all = what.empty();
  if (all) fmt::print("Recipes (train --recipe NAME)\n");
  if (all || what == "recipes") list_recipes();
  if (all) fmt::print("\nModels (forward, bench --model NAME)\n");
  if (all || what == "models") list_models();
  if (all) fmt::print("\nDevices (--device)\n");
  if (all || what == "devices") fmt::print("{}\n", devices_text());
  return 0;
}

}  // namespace mono
