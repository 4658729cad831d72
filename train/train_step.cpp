#include "train/train_step.h"

#include "train/groups_step.h"

namespace mono {

std::unique_ptr<TrainStep> make_train_step(const RunSetup& setup, Model& model) {
  return std::make_unique<GroupsStep>(setup, model);
}

}  // namespace mono
