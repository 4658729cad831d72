#include "tests/train/evaluate/tiny_run.h"

#include "models/weights.h"
#include "train/train_checkpoint.h"

namespace mono::test {

void write_tiny_run(const std::filesystem::path& run, const std::filesystem::path& data,
                    const std::vector<std::string>& sets) {
  const auto setup = set_up(tiny_recipe(sets), data);
  const std::unique_ptr<Model> model = make_model(*setup);
  const RunDirectory folder(run);
  RunInfo info;
  info.recipe_hash = recipe_hash(setup->recipe);
  info.data = data;
  folder.start(setup->recipe, info);
  const std::vector<NamedTensor> weights = state_dict(*model);
  CheckpointContent content;
  content.step = 7;
  content.recipe_hash = info.recipe_hash;
  content.state["training_sites"] = training_sites_hash(*setup);
  for (const NamedTensor& tensor : weights)
    content.model.push_back({tensor.name, tensor.shape, tensor.values.span<float>()});
  CheckpointStore(folder, 2).save(content);
}

}  // namespace mono::test
