#include "train/train_step.h"

#include "train/groups_step.h"
#include "train/self_supervised_step.h"
#include "train/supervised_step.h"

namespace mono {

std::unique_ptr<TrainStep> make_train_step(const RunSetup& setup, Model& model) {
  if (setup.recipe.batch.form == BatchForm::groups)
    return std::make_unique<GroupsStep>(setup, model);
  if (setup.recipe.method == Method::supervised)
    return std::make_unique<SupervisedStep>(setup, model);
  return std::make_unique<SelfSupervisedStep>(setup, dynamic_cast<SelfSupervised&>(model));
}

}  // namespace mono
