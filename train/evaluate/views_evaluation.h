// The evaluation of CDCL's runs (Table 1): the features of the training images as a bank, those of
// the test images as questions.
//
//   Lin.         share of test images that the run's linear classifier names: the online probe, or
//                the supervised classifier itself
//   k-NN         cosine, k and temperature of the recipe's [validation]
//   Z-norm k-NN  the same after z_norm(), in its three modes; the headline is `all`
//   k-BET        of the test images' domains, plain and after z_norm(all), consistent form
// Fractions 0..1. What cannot be computed is absent, with the reason.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nn/functional/nearest.h"
#include "train/evaluate/trained_run.h"
#include "train/json.h"

namespace mono {

struct ViewsEvaluation {
  Features bank, test;                          // rows as Split::bank and Split::test
  std::vector<int> bank_answers, test_answers;  // of the classifier; empty: there is none
  // By column: lin, knn, z_norm_knn (all), z_norm_knn_controls, z_norm_knn_minibatch92, kbet,
  // kbet_z_norm, kbet_train.
  std::map<std::string, double> figures;
  std::map<std::string, std::string> absent;  // column -> why
};

// The columns in the order in which they are printed, and what each is called there.
const std::vector<std::pair<std::string, std::string>>& views_columns();

ViewsEvaluation evaluate_views(const TrainedRun& run);

// The same from features that exist already.
ViewsEvaluation evaluate_features(const RunSetup& setup, Features bank, Features test);

// Writes RUN/evaluation/views.json and views.csv (a row for each test image); returns the JSON's
// path.
std::filesystem::path write_views_evaluation(const std::filesystem::path& run_folder,
                                             const TrainedRun& run, const ViewsEvaluation& result);
std::string views_evaluation_text(const TrainedRun& run, const ViewsEvaluation& result);

// What every result of a run is labelled with: empty, or "from scratch".
std::string label_of(const Recipe& recipe);

}  // namespace mono
