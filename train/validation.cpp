#include "train/validation.h"

#include <fmt/format.h>

#include "train/evaluate/image_features.h"
#include "train/evaluate/knn.h"
#include "train/run_directory.h"

namespace mono {

std::optional<double> validation_accuracy(const RunSetup& setup, const Model& model,
                                          Communicator& ranks,
                                          const std::function<bool()>& abandon) {
  const auto labels_of = [&](const std::vector<int>& sites) {
    std::vector<int> labels;
    for (const int site : sites) labels.push_back(setup.label[static_cast<size_t>(site)]);
    return labels;
  };
  InferenceOptions options;
  options.mode = statistics_mode("", setup.recipe);
  options.ranks = &ranks;
  options.abandon = abandon;
  const auto features = [&](const char* task, const std::vector<int>& sites) {
    options.task = task;
    return image_features(setup, model, sites, options);
  };
  const std::vector<int>&bank = setup.split.bank, &queries = setup.split.validation;
  const auto bank_features = features("bank", bank);
  if (!bank_features) return std::nullopt;
  const auto query_features = features("validate", queries);
  if (!query_features) return std::nullopt;
  double accuracy = 0;
  if (ranks.is_root()) {  // the others would only take its cores
    ranks.moving("nearest neighbours");
    const Recipe::Validation& vote = setup.recipe.validation;
    accuracy = knn(*bank_features, labels_of(bank), *query_features, labels_of(queries),
                   {.k = static_cast<int>(vote.k), .temperature = vote.temperature})
                   .accuracy.value();
  }
  return ranks.of_root(accuracy);
}

Validation::Validation(const RunSetup& setup, const RunDirectory& run, Communicator& ranks,
                       int64_t done, const std::optional<JsonView>& saved)
    : setup_(setup),
      ranks_(ranks),
      enabled_(!setup.split.validation.empty() && setup.recipe.validation.every_epochs > 0) {
  if (!enabled_) return;
  if (run.writes()) log_.emplace((run.path() / "validation.jsonl").string(), done);
  const auto before = saved ? saved->find("validation") : std::nullopt;
  if (!before) return;
  validated_ = (*before)["step"].integer();
  accuracy_ = (*before)["accuracy"].number();
  best_.step = (*before)["best_step"].integer();
  best_.accuracy = (*before)["best_accuracy"].number();
}

bool Validation::due(int64_t done, int64_t epoch_steps, int64_t total_steps) const {
  return enabled_ && done > 0 && done != validated_ &&
         (done == total_steps || done % (setup_.recipe.validation.every_epochs * epoch_steps) == 0);
}

bool Validation::run(int64_t done, int64_t epoch, const Model& model,
                     const std::function<bool()>& abandon) {
  const std::optional<double> accuracy = validation_accuracy(setup_, model, ranks_, abandon);
  if (!accuracy) return false;
  validated_ = done;
  accuracy_ = *accuracy;
  if (accuracy_ > best_.accuracy) {
    best_.accuracy = accuracy_;
    best_.step = done;
  }
  if (!log_) return true;
  Json row = Json::object();
  row["step"] = done;
  row["epoch"] = epoch;
  row["knn_accuracy"] = accuracy_;
  row["best_step"] = best_.step;
  try {
    log_->append(row);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage) throw;  // a full disk: the checkpoints say it, too
    fmt::print(stderr, "warning: {}\n", error.what());
  }
  return true;
}

Json Validation::state() const {
  Json state = Json::object();
  if (validated_ < 0) return state;
  Json& json = state["validation"];
  json["step"] = validated_;
  json["accuracy"] = accuracy_;
  json["best_step"] = best_.step;
  json["best_accuracy"] = best_.accuracy;
  return state;
}

std::string Validation::text() const {
  return fmt::format("validation k-NN {:.1f} % (best so far {:.1f} %, after step {})",
                     100 * accuracy_, 100 * best_.accuracy, best_.step);
}

int64_t best_step_of(const JsonView& state) {
  const auto more = state.find("more");
  const auto validation = more ? more->find("validation") : std::nullopt;
  return validation ? (*validation)["best_step"].integer() : -1;
}

}  // namespace mono
