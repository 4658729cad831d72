#include "train/train_step.h"

#include "train/groups_step.h"
#include "train/self_supervised_step.h"
#include "train/supervised_step.h"

namespace mono {

std::unique_ptr<TrainStep> make_train_step(const RunSetup& setup, Model& model,
                                           Communicator& ranks) {
  if (setup.recipe.batch.form == BatchForm::groups)
    return std::make_unique<GroupsStep>(setup, model, ranks);
  if (setup.recipe.method == Method::supervised)
    return std::make_unique<SupervisedStep>(setup, model, ranks);
  return std::make_unique<SelfSupervisedStep>(setup, dynamic_cast<SelfSupervised&>(model), ranks);
}

}  // namespace mono
