#include "train/run_weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/weights.h"
#include "train/run_directory.h"
#include "train/validation.h"

namespace mono {
namespace {

struct Part {
  std::string ours, theirs;  // prefixes of names
};

// Parameters and running statistics whose names begin with a part's prefix, from the file's names
// that begin with its other one.
void fill(Model& model, const SafetensorsFile& file, const std::vector<Part>& parts) {
  struct Write {
    const Parameter* parameter;
    Tensor column;  // of a running statistic
    std::vector<float> values;
  };
  std::vector<Write> writes;
  std::vector<std::string> problems;
  const auto take = [&](const std::string& name, const std::vector<int64_t>& shape) {
    for (const Part& part : parts) {
      if (!name.starts_with(part.ours)) continue;
      const std::string theirs = part.theirs + name.substr(part.ours.size());
      const auto entry = std::ranges::find(file.entries(), theirs, &SafetensorsEntry::name);
      if (entry == file.entries().end())
        problems.push_back(fmt::format("'{}' is missing", theirs));
      else if (entry->shape != shape)
        problems.push_back(fmt::format("'{}' is ({}) in the file, ({}) in the network", theirs,
                                       fmt::join(entry->shape, ","), fmt::join(shape, ",")));
      else
        return file.values<float>(theirs);
    }
    return std::vector<float>();
  };
  for (const Parameter& p : model.arena().parameters()) {
    const NamedTensor like = to_pytorch(model.arena(), model.arena().weights(), p, p.name);
    writes.push_back({&p, {}, take(p.name, like.shape)});
  }
  for (const NormLayer& layer : model.norms().layers())
    for (const auto& [table, buffer] : {std::pair{model.running().mean(), ".running_mean"},
                                        std::pair{model.running().variance(), ".running_var"}})
      writes.push_back({nullptr,
                        table.reshape({static_cast<int>(table.elements())})
                            .range(layer.offset, {layer.channels}),
                        take(layer.name + buffer, {layer.channels})});
  if (!problems.empty())
    fail(ErrorKind::data, "{}: the run's weights do not fit this recipe's network: {}{}",
         file.path(), problems.front(),
         problems.size() > 1 ? fmt::format(", and {} more differences", problems.size() - 1) : "");
  for (const Write& write : writes) {
    if (write.values.empty()) continue;
    const Tensor flat = Tensor::empty({static_cast<int>(write.values.size())}, DType::f32);
    std::ranges::copy(write.values, flat.data<float>());
    if (write.parameter)
      from_pytorch(model.arena(), model.arena().weights(), *write.parameter, flat);
    else
      write.column.copy_from(flat);
  }
  model.arena().weights_changed();
}

}  // namespace

LoadedCheckpoint load_run_checkpoint(const std::filesystem::path& run) {
  LoadedCheckpoint newest = load_last_checkpoint(run);
  const int64_t best = best_step_of(newest.state);
  if (best < 0 || best == newest.step) return newest;
  return load_checkpoint_of(run, best);
}

void load_evaluated(Model& model, const Recipe& recipe, const SafetensorsFile& file, bool head) {
  const bool supervised = recipe.method == Method::supervised;
  std::vector<Part> parts = {
      {"backbone.", recipe.method == Method::dino ? "teacher.backbone." : "backbone."}};
  if (head && supervised) parts.push_back({"head.", "head."});
  if (head && !supervised && recipe.probe.enabled) parts.push_back({"head.", "probe."});
  fill(model, file, parts);
}

void load_teacher(Model& teacher, const SafetensorsFile& file) {
  fill(teacher, file, {{"", "teacher."}});
}

void load_init_from(Model& model, const Recipe& recipe) {
  const std::filesystem::path run = recipe.model.init_from;
  load_evaluated(model, read_run_recipe(run), load_run_checkpoint(run).model, false);
}

}  // namespace mono
